"""WGA, weighted gradient ascent: tokens that are still likely are pushed harder (Wang et al., arXiv 2502.19301)."""

from dataclasses import dataclass, replace

from torch import Tensor

from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class WgaConfig(BalancedConfig):
    """The forget part is mean_t p_t^beta log p_t, p_t^beta a constant factor: forgotten tokens fade out of the gradient.

    Attributes:
        method: The unlearning method.
        beta: Exponent of the token's probability.
    """

    method: str = "wga"
    beta: float = 1.0


class Wga(Balanced):
    """The objective."""

    config: WgaConfig

    def forget_part(self, view: StepView) -> Tensor:
        """The weighted negative token losses of the forget rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        nll = view.losses.nll
        weighted = (-self.config.beta * nll.detach()).exp() * nll
        return -view.masked_mean(replace(view.losses, nll=weighted).means(), Role.UNWANTED)


METHOD = Method(
    name="wga",
    summary="gradient ascent with token weights p^beta",
    paper="Wang et al., arXiv 2502.19301",
    config_type=WgaConfig,
    build=Wga,
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "beta": (0.5, 1.0)},
)
