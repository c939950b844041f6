"""GA: gradient ascent on the forget rows alone (Jang et al., arXiv 2210.01504)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from unweave.unlearning.methods.base import Default, Objective
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class GA(Objective):
    """Gradient ascent: loss = -mean_i w_i l(z_i) over forget rows. Unbounded below; it stops when the model is worse than guessing.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.GA(), epochs=1).method
        'ga'
    """

    name: ClassVar = "ga"
    summary: ClassVar = "gradient ascent on the forget rows"
    paper: ClassVar = "Jang et al., arXiv 2210.01504"
    uses_retain: ClassVar = False
    defaults: ClassVar = {
        "retain_ratio": Default(0.0, "Retain rows are not used."),
        "learning_rate": Default(3e-4, "Less than that of methods whose retain part holds the rest in place."),
    }
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3)}

    def loss(self, step: "StepView") -> "Tensor":
        """The negative weighted mean loss of the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        losses = step.losses.means()
        return -(step.step.weights * step.mask(Role.UNWANTED) * losses).sum() / step.step.rows
