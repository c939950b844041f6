"""SimNPO: NPO without the reference model, by the mean loss a token (Fan et al., arXiv 2410.07163).

The gradient of the forget part is that of -gamma l times 2 sigmoid(-beta (l - delta)): with the published beta it fades where the loss is above some tenths
of a nat. Rows that the model doesn't know by heart are left as they are, which is said before a run; delta moves the place.
"""

import math
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor
from torch.nn import functional

from unweave.gradients.scoring import example_losses
from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView
from unweave.unlearning.watch import watched_rows

LEAST_FACTOR = 0.01
"""Below this factor of gradient ascent's gradient the retain part has the say in every step."""


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

    def cautions(self) -> list[str]:
        """See `Objective.cautions`.

        Returns:
            The factor, where it is too small to move anything.
        """
        config, loaded = self.config, self.setting.loaded
        examples, _ = watched_rows(config, self.setting.rows)
        means = example_losses(loaded.model, examples, pad_token_id=loaded.tokenizer.pad_token_id).means()
        factors = [2 * config.gamma / (1 + math.exp(min(700.0, config.beta * (loss - config.delta)))) for loss in means]
        if fmean(factors) >= LEAST_FACTOR:
            return []
        return [
            f"simnpo pushes the forget rows with {fmean(factors):.2g} of gradient ascent's force (2 gamma sigmoid(-beta (l - delta)); their loss l is "
            f"{fmean(means):.2f} nats a token): next to nothing moves. Give --delta near that loss, or use another method."
        ]


METHOD = Method(
    name="simnpo",
    summary="NPO by the mean loss a token, without a reference model",
    paper="Fan et al., arXiv 2410.07163",
    config_type=SimNpoConfig,
    build=SimNpo,
    cost="one forward and one backward pass a step; one more forward pass for each forget row in a run, 32 at most",
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.125, 1.0)},
)
