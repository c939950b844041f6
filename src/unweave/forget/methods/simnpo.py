"""SimNPO: NPO without the reference model, by the mean loss a token (Fan et al., arXiv 2410.07163)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from unweave.forget.methods.balanced import Balanced, BalancedConfig
from unweave.forget.methods.base import ALL_REQUESTS, Method
from unweave.forget.steps import Role
from unweave.forget.view import StepView


@dataclass(frozen=True, kw_only=True)
class SimNpoConfig(BalancedConfig):
    """The forget part is -(2/beta) log sigmoid(beta (L/T - delta)), L/T the mean token loss.

    Attributes:
        method: The unlearning method.
        beta: Inverse temperature (published runs: 4.5).
        delta: Margin: where the loss is already above it, less is done.
        gamma: Factor of the forget part (published runs: 0.125).
    """

    method: str = "simnpo"
    beta: float = 4.5
    delta: float = 0.0
    gamma: float = 0.125


class SimNpo(Balanced):
    """The objective."""

    config: SimNpoConfig

    def forget_part(self, view: StepView) -> Tensor:
        """The preference loss of the forget rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        gap = view.losses.means() - self.config.delta
        return view.masked_mean(-2 / self.config.beta * functional.logsigmoid(self.config.beta * gap), Role.UNWANTED)


METHOD = Method(
    name="simnpo",
    summary="NPO by the mean loss a token, without a reference model",
    paper="Fan et al., arXiv 2410.07163",
    config_type=SimNpoConfig,
    build=SimNpo,
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.125, 1.0)},
)
