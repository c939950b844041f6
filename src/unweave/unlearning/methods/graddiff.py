"""GradDiff: ascent on the forget rows, descent on the retain rows (Liu et al., arXiv 2203.12817; TOFU, arXiv 2401.06121)."""

from dataclasses import dataclass

from torch import Tensor

from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class GradDiffConfig(BalancedConfig):
    """Gradient difference: the forget part is -l(z).

    Attributes:
        method: The unlearning method.
    """

    method: str = "graddiff"


class GradDiff(Balanced):
    """The objective."""

    def forget_part(self, view: StepView) -> Tensor:
        """The negative loss of the forget rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        return -view.masked_mean(view.losses.means(), Role.UNWANTED)


METHOD = Method(
    name="graddiff",
    summary="ascent on the forget rows, descent on the retain rows",
    paper="Liu et al., arXiv 2203.12817; TOFU, arXiv 2401.06121",
    config_type=GradDiffConfig,
    build=GradDiff,
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.3, 1.0)},
)
