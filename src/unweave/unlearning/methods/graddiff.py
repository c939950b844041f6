"""GradDiff: ascent on the forget rows, descent on the retain rows (Liu et al., arXiv 2203.12817; TOFU, arXiv 2401.06121)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import ALL_REQUESTS
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class GradDiff(Balanced):
    """Gradient difference: the forget part is -l(z).

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.GradDiff(gamma=0.5), epochs=1).method
        'graddiff'
    """

    name: ClassVar = "graddiff"
    summary: ClassVar = "ascent on the forget rows, descent on the retain rows"
    paper: ClassVar = "Liu et al., arXiv 2203.12817; TOFU, arXiv 2401.06121"
    requests: ClassVar = ALL_REQUESTS
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.3, 1.0)}

    def forget_part(self, step: "StepView") -> "Tensor":
        """The negative loss of the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        return -step.masked_mean(step.losses.means(), Role.UNWANTED)
