"""GA: gradient ascent on the forget rows alone (Jang et al., arXiv 2210.01504)."""

from dataclasses import dataclass

from torch import Tensor

from unweave.forget.config import ForgetConfig
from unweave.forget.methods.base import Method
from unweave.forget.steps import Role, StepBatch
from unweave.gradients.loss import TokenLosses


@dataclass(frozen=True, kw_only=True)
class GaConfig(ForgetConfig):
    """Gradient ascent: loss = -mean_i w_i l(z_i) over forget rows. Unbounded below; it stops when the model is worse than guessing.

    Attributes:
        method: The unlearning method.
        retain_ratio: Retain rows are not used.
    """

    method: str = "ga"
    retain_ratio: float = 0.0


class Ga:
    """The objective.

    Args:
        config: Unused: there are no factors.
    """

    def __init__(self, config: GaConfig):
        del config

    def loss(self, losses: TokenLosses, step: StepBatch) -> Tensor:
        """See `Objective.loss`.

        Args:
            losses: Token losses of the sequences.
            step: Roles and weights.

        Returns:
            The negative weighted mean loss of the forget rows.
        """
        return -(step.weights * step.mask(Role.UNWANTED) * losses.means()).sum() / step.rows


METHOD = Method(
    name="ga",
    summary="gradient ascent on the forget rows",
    paper="Jang et al., arXiv 2210.01504",
    config_type=GaConfig,
    build=Ga,
    uses_clean=False,
    uses_retain=False,
)
