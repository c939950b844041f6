"""WGA, weighted gradient ascent: tokens that are still likely are pushed harder (Wang et al., arXiv 2502.19301)."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import ALL_REQUESTS
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class WGA(Balanced):
    """The forget part is mean_t p_t^beta log p_t, p_t^beta a constant factor: forgotten tokens fade out of the gradient.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.WGA(), epochs=1).method
        'wga'

    Attributes:
        beta: Exponent of the token's probability.
    """

    name: ClassVar = "wga"
    summary: ClassVar = "gradient ascent with token weights p^beta"
    paper: ClassVar = "Wang et al., arXiv 2502.19301"
    requests: ClassVar = ALL_REQUESTS
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "beta": (0.5, 1.0)}

    beta: float = 1.0

    def forget_part(self, step: "StepView") -> "Tensor":
        """The weighted negative token losses of the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        nll = step.losses.nll
        weighted = (-self.beta * nll.detach()).exp() * nll
        return -step.masked_mean(replace(step.losses, nll=weighted).means(), Role.UNWANTED)
