"""LoReUn: forget rows weighed by their loss, small losses being hard to forget (arXiv 2507.22499), on gradient difference."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unweave.gradients.scoring import example_losses
from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method, Setting
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView
from unweave.weights.controls import loreun_weights

ALIKE = 1.1
"""Weights whose largest is less than this many times their smallest."""


@dataclass(frozen=True, kw_only=True)
class LoReUnConfig(BalancedConfig):
    """The forget part is -mean w l(z), w proportional to exp(-l(z)/tau), brought to mean 1, clipped, and brought to mean 1 again.

    Attributes:
        method: The unlearning method.
        schedule: `static`: by the losses before forgetting. `dynamic`: by those of the step.
        loreun_tau: Temperature, in nats a token.
        loreun_wmin: Lower clip.
        loreun_wmax: Upper clip.
        loreun_direction: `easy-low` gives small losses large weights (the paper); `easy-high` the opposite (RapidUn's code).
    """

    method: str = "loreun"
    schedule: Literal["static", "dynamic"] = "static"
    loreun_tau: float = 0.8
    loreun_wmin: float = 0.5
    loreun_wmax: float = 3.0
    loreun_direction: Literal["easy-low", "easy-high"] = "easy-low"


class LoReUn(Balanced):
    """The objective."""

    config: LoReUnConfig

    def __init__(self, config: LoReUnConfig, setting: Setting):
        super().__init__(config, setting)
        self._static: dict[str, float] = {}

    def forget_part(self, view: StepView) -> Tensor:
        """The weighted negative loss of the forget rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        means = view.losses.means()
        unwanted = (view.step.roles == Role.UNWANTED).nonzero().flatten().tolist()
        weights = torch.zeros_like(means)
        if unwanted:
            if self.config.schedule == "static":
                found = [self._of_row(view)[view.step.row_ids[index]] for index in unwanted]
            else:
                found = loreun_weights(means.detach()[unwanted].tolist(), self.config)
            weights[unwanted] = torch.tensor(found, dtype=means.dtype, device=means.device)
        return -view.masked_mean(weights * means, Role.UNWANTED)

    def cautions(self) -> list[str]:
        """See `Objective.cautions`.

        Returns:
            The weights, where they are all alike, as of rows that are all known by heart.
        """
        self._static = _weights(self.config, self.setting)
        least, most = min(self._static.values()), max(self._static.values())
        if most >= ALIKE * least:
            return []
        return [
            f"loreun's weights of the forget rows lie between {least:.2f} and {most:.2f}, their losses being alike: this is gradient difference. "
            "A lower --loreun-tau tells them apart."
        ]

    def _of_row(self, view: StepView) -> dict[str, float]:
        """Static weights by row, from the losses of all forget rows under the model before."""
        if not self._static:
            with view.reference.active():
                self._static = _weights(self.config, self.setting)
        return self._static


def _weights(config: LoReUnConfig, setting: Setting) -> dict[str, float]:
    """Static weights by row, from the losses of all forget rows under the model as it is."""
    examples = [row.example for row in setting.rows if row.is_forget]
    losses = example_losses(setting.loaded.model, examples, pad_token_id=setting.loaded.tokenizer.pad_token_id)
    return dict(zip(losses.row_ids, loreun_weights(losses.means(), config), strict=True))


METHOD = Method(
    name="loreun",
    summary="gradient difference with forget rows weighed by their loss",
    paper="arXiv 2507.22499",
    config_type=LoReUnConfig,
    build=LoReUn,
    weighs=True,
    cost="one forward and one backward pass a step; one more forward pass for each forget row in a run",
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.3, 1.0)},
)
