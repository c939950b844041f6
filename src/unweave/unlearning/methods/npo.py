"""NPO, negative preference optimisation: forget rows are dispreferred answers without a preferred one (Zhang et al., arXiv 2404.05868)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class NpoConfig(BalancedConfig):
    """The forget part is -(2/beta) log sigmoid(beta (L - L_ref)), L the summed loss of the answer; beta to 0 gives gradient ascent.

    Attributes:
        method: The unlearning method.
        beta: Inverse temperature (the paper's experiments: 0.1).
    """

    method: str = "npo"
    beta: float = 0.1


class Npo(Balanced):
    """The objective."""

    config: NpoConfig

    def forget_part(self, view: StepView) -> Tensor:
        """The preference loss of the forget rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        gap = view.losses.sums() - view.reference_sums()
        return view.masked_mean(-2 / self.config.beta * functional.logsigmoid(self.config.beta * gap), Role.UNWANTED)


METHOD = Method(
    name="npo",
    summary="forget rows as dispreferred answers, bounded by the model before",
    paper="Zhang et al., arXiv 2404.05868",
    config_type=NpoConfig,
    build=Npo,
    cost="one forward and one backward pass a step; one more forward pass for each forget row in a run",
    compares=lambda _: True,
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "beta": (0.1, 0.5)},
)
