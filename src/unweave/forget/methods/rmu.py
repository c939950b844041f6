"""RMU, representation misdirection: hidden states of forget rows towards a random direction, of retain rows where they were (Li et al., arXiv 2403.03218)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unweave.data.batches import Batch
from unweave.errors import ConfigError
from unweave.forget.methods.balanced import Balanced, BalancedConfig
from unweave.forget.methods.base import Method, Setting
from unweave.forget.steps import Role
from unweave.forget.view import StepView
from unweave.gradients.loss import TokenLosses


@dataclass(frozen=True, kw_only=True)
class RmuConfig(BalancedConfig):
    """The forget part is MSE(h, c u) at a middle layer, u a fixed random unit vector; the retain part is MSE(h, h before).

    The paper trains mlp.down_proj of the layer and the two below; here what the adapter reaches of the layers up to it.

    Attributes:
        method: The unlearning method.
        layer: Behind which layer, from 1; by default at 7/16 of the depth, as layer 7 of 16.
        steering: c, the length of the target (published runs: 2).
        lora_targets: Modules that a new adapter trains.
    """

    method: str = "rmu"
    layer: int | None = None
    steering: float = 2.0
    lora_targets: str = "down_proj"


class Rmu(Balanced):
    """The objective."""

    config: RmuConfig

    def __init__(self, config: RmuConfig, setting: Setting):
        super().__init__(config, setting)
        model = setting.loaded.model
        layers = model.config.get_text_config().num_hidden_layers
        self.layer = config.layer if config.layer is not None else max(1, round(layers * 7 / 16))
        if not 1 <= self.layer <= layers:
            raise ConfigError(f"The model has {layers} layers.", where="--layer", remedy=f"give 1 to {layers}")
        generator = torch.Generator().manual_seed(config.seed)
        direction = torch.rand(model.config.get_text_config().hidden_size, generator=generator)
        self.target = config.steering * direction / direction.norm()

    def forget_part(self, view: StepView) -> Tensor:
        """Squared distance of the forget rows' states from the target.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        values = [
            _row_means((states.float() - self.target.to(states.device)).square(), batch)
            for states, batch in view.hidden(self.layer)
        ]
        return view.masked_mean(torch.cat(values), Role.UNWANTED)

    def retain_part(self, view: StepView) -> Tensor:
        """Squared distance of the retain rows' states from where they were.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        before = view.reference_hidden(self.layer)
        pairs = zip(view.hidden(self.layer), before, strict=True)
        values = [_row_means((states.float() - old.float()).square(), batch) for (states, batch), old in pairs]
        return view.masked_mean(torch.cat(values), Role.RETAIN)


def _row_means(squares: Tensor, batch: Batch) -> Tensor:
    """Mean over features and the tokens of each row, padding apart."""
    real = batch.segments >= 0
    return TokenLosses(squares.mean(dim=-1)[real], batch.segments[real], len(batch)).means()


METHOD = Method(
    name="rmu",
    summary="hidden states of forget rows towards a random direction",
    paper="Li et al., arXiv 2403.03218 (WMDP)",
    config_type=RmuConfig,
    build=Rmu,
    cost="two forward passes and one backward pass a step, down to the middle layer",
    search={"learning_rate": (1e-4, 2e-4, 4e-4), "steering": (2.0, 10.0)},
)
