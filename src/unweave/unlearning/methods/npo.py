"""NPO, negative preference optimisation: forget rows are dispreferred answers without a preferred one (Zhang et al., arXiv 2404.05868)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import ALL_REQUESTS
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class NPO(Balanced):
    """The forget part is -(2/beta) log sigmoid(beta (L - L_ref)), L the summed loss of the answer; beta to 0 gives gradient ascent.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.NPO(beta=0.2), epochs=1).method
        'npo'

    Attributes:
        beta: Inverse temperature (the paper's experiments: 0.1).
    """

    name: ClassVar = "npo"
    summary: ClassVar = "forget rows as dispreferred answers, bounded by the model before"
    paper: ClassVar = "Zhang et al., arXiv 2404.05868"
    cost: ClassVar = "one forward and one backward pass a step; one more forward pass for each forget row in a run"
    requests: ClassVar = ALL_REQUESTS
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "beta": (0.1, 0.5)}

    beta: float = 0.1

    @property
    def compares(self) -> bool:
        """With the model before, always."""
        return True

    def forget_part(self, step: "StepView") -> "Tensor":
        """The preference loss of the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        from torch.nn.functional import logsigmoid

        gap = step.losses.sums() - step.reference_sums()
        return step.masked_mean(-2 / self.beta * logsigmoid(self.beta * gap), Role.UNWANTED)
