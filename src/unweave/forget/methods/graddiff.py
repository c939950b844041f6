"""GradDiff: ascent on the forget rows, descent on the retain rows (Liu et al., arXiv 2203.12817; TOFU, arXiv 2401.06121)."""

from dataclasses import dataclass

from torch import Tensor

from unweave.forget.config import ForgetConfig
from unweave.forget.methods.base import Method
from unweave.forget.steps import Role, StepBatch
from unweave.gradients.loss import TokenLosses


@dataclass(frozen=True, kw_only=True)
class GradDiffConfig(ForgetConfig):
    """Gradient difference: loss = alpha mean_R w l(z) - gamma mean_F w l(z).

    Attributes:
        method: The unlearning method.
        gamma: Factor of the forget part.
        alpha: Factor of the retain part.
        retain_ratio: One retain row for each forget row, as in TOFU.
    """

    method: str = "graddiff"
    gamma: float = 1.0
    alpha: float = 1.0
    retain_ratio: float = 1.0


class GradDiff:
    """The objective.

    Args:
        config: Its factors.
    """

    def __init__(self, config: GradDiffConfig):
        self.config = config

    def loss(self, losses: TokenLosses, step: StepBatch) -> Tensor:
        """See `Objective.loss`.

        Args:
            losses: Token losses of the sequences.
            step: Roles and weights.

        Returns:
            The weighted difference of the two means; a step without rows of a kind lacks that part.
        """
        parts = []
        for role, factor in ((Role.RETAIN, self.config.alpha), (Role.UNWANTED, -self.config.gamma)):
            mask = step.mask(role)
            parts.append(factor * (step.weights * mask * losses.means()).sum() / mask.sum().clamp(min=1))
        return parts[0] + parts[1]


METHOD = Method(
    name="graddiff",
    summary="ascent on the forget rows, descent on the retain rows",
    paper="Liu et al., arXiv 2203.12817; TOFU, arXiv 2401.06121",
    config_type=GradDiffConfig,
    build=GradDiff,
    uses_clean=False,
    uses_retain=True,
)
