"""Fisher forgetting: noise on the parameters that the retain rows do not need (Golatkar et al., arXiv 1911.04933)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from unweave.unlearning.methods.base import Edit

if TYPE_CHECKING:
    from unweave.unlearning.context import Context


@dataclass(frozen=True, kw_only=True)
class Fisher(Edit):
    """theta += N(0, alpha / F_R), F_R the diagonal Fisher information of the retain rows, 1/F_R clamped.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.Fisher(noise=0.05)).method
        'fisher'

    Attributes:
        noise: alpha, in units of the median over all parameters of F_R times the mean square of the parameter's tensor: the variance of the noise on the
            median parameter, relative to its tensor.
        max_inverse: The quantile of 1/F_R at which it is clamped: parameters that no retain row needs would be lost in noise.
        max_noise: The most noise that a parameter gets, relative to the root mean square of its tensor.
    """

    name: ClassVar = "fisher"
    summary: ClassVar = "noise on parameters that the retain rows do not need"
    paper: ClassVar = "Golatkar et al., arXiv 1911.04933"
    cost: ClassVar = "one pass of gradients over the retain rows"
    search: ClassVar = {"noise": (0.01, 0.03, 0.1, 0.3)}

    noise: float = 0.1
    max_inverse: float = 0.9
    max_noise: float = 2.0

    def edit(self, context: "Context") -> dict[str, Any]:
        """Add the noise.

        Args:
            context: The model and rows.

        Returns:
            What there is to say of it.
        """
        from unweave.unlearning.edits.fisher import add_noise

        return add_noise(self, context)
