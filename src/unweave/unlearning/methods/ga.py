"""GA: gradient ascent on the forget rows alone (Jang et al., arXiv 2210.01504)."""

from dataclasses import dataclass

from torch import Tensor

from unweave.unlearning.config import ForgetConfig
from unweave.unlearning.methods.base import Method, Objective, Setting
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class GaConfig(ForgetConfig):
    """Gradient ascent: loss = -mean_i w_i l(z_i) over forget rows. Unbounded below; it stops when the model is worse than guessing.

    Attributes:
        method: The unlearning method.
        retain_ratio: Retain rows are not used.
        learning_rate: Less than that of methods whose retain part holds the rest in place.
    """

    method: str = "ga"
    retain_ratio: float = 0.0
    learning_rate: float = 3e-4


class Ga(Objective):
    """The objective.

    Args:
        config: Unused: there are no factors.
        setting: Unused.
    """

    def __init__(self, config: GaConfig, setting: Setting):
        del config, setting

    def loss(self, view: StepView) -> Tensor:
        """See `Objective.loss`.

        Args:
            view: The step.

        Returns:
            The negative weighted mean loss of the forget rows.
        """
        return -(view.step.weights * view.step.mask(Role.UNWANTED) * view.losses.means()).sum() / view.step.rows


METHOD = Method(
    name="ga",
    summary="gradient ascent on the forget rows",
    paper="Jang et al., arXiv 2210.01504",
    config_type=GaConfig,
    build=Ga,
    uses_retain=False,
    search={"learning_rate": (1e-4, 3e-4, 1e-3)},
)
