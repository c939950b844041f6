"""RMU, representation misdirection: hidden states of forget rows towards a random direction, of retain rows where they were (Li et al., arXiv 2403.03218).

States are those of the answers' tokens. With the prompts', the first token of each row is among them, whose state is hundreds of times as large as any other
in many models (an attention sink): the loss would be of that one token.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unweave.errors import ConfigError
from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import Method, Setting
from unweave.unlearning.steps import Role
from unweave.unlearning.trainable import trainable
from unweave.unlearning.view import StepView

TRAINED_LAYERS = 3
"""The layer whose states are looked at, and those below it that are trained with it."""

_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class RmuConfig(BalancedConfig):
    """The forget part is the mean of (h - c u)^2 over features and answer tokens, behind a middle layer, u a fixed random unit vector with entries above 0.

    As in the official code, mlp.down_proj of that layer and of the two below it are trained; here by low-rank updates.

    Attributes:
        method: The unlearning method.
        layer: Which layer, from 0, as the model counts them (`layers[7]`, whose states transformers has as `hidden_states[8]`); by default at 7/16 of the
            depth, as layer 7 of 16.
        steering: c, the length of the target (published runs: 2).
        retain_loss: `states`: the mean of (h - h before)^2 (the paper). `nll`, `kl`: as of other methods.
        lora_targets: Modules of the three layers that are trained.
        learning_rate: Twice that of methods that train all layers.
    """

    method: str = "rmu"
    layer: int | None = None
    steering: float = 2.0
    retain_loss: Literal["states", "nll", "kl"] = "states"  # pyright: ignore[reportIncompatibleVariableOverride]
    lora_targets: str = "down_proj"
    learning_rate: float = 1e-3


class Rmu(Balanced):
    """The objective.

    Args:
        config: Layer, steering, factors.
        setting: Model and rows.
    """

    config: RmuConfig

    def __init__(self, config: RmuConfig, setting: Setting):
        super().__init__(config, setting)
        model = setting.loaded.model
        self.layer = chosen_layer(config, model)
        generator = torch.Generator().manual_seed(config.seed)
        direction = torch.rand(model.config.get_text_config().hidden_size, generator=generator)
        self.target = config.steering * direction / direction.norm()

    def cautions(self) -> list[str]:
        """See `Objective.cautions`.

        Returns:
            That `stop_loss` is never looked at, where it was given.
        """
        if self.config.stop_loss is None or self.config.retain_loss != "states":
            return []
        return [
            "No effect has --stop-loss: rmu looks at hidden states, and knows no loss of the forget rows. Give --check-every, or --target-loss."
        ]

    def forget_part(self, view: StepView) -> Tensor:
        """Squared distance of the forget rows' states from the target.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        found = view.answer_states(self.layer)
        squares = (found.states - self.target.to(found.states.device)).square().mean(dim=-1)
        return view.masked_mean(found.means(squares), Role.UNWANTED)

    def retain_part(self, view: StepView) -> Tensor:
        """Squared distance of the retain rows' states from where they were.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        if self.config.retain_loss != "states":
            return super().retain_part(view)
        found = view.answer_states(self.layer)
        squares = (found.states - view.reference_answer_states(self.layer).states).square().mean(dim=-1)
        return view.masked_mean(found.means(squares), Role.RETAIN)


def chosen_layer(config: RmuConfig, model: Any) -> int:
    """The layer whose states are looked at.

    Args:
        config: Which, where it says so.
        model: The model.

    Returns:
        From 0.

    Raises:
        ConfigError: When the model has no such layer, or it is the last, whose states transformers gives behind the final norm.
    """
    last = model.config.get_text_config().num_hidden_layers - 2
    layer = config.layer if config.layer is not None else min(round((last + 2) * 7 / 16), last)
    if not 0 <= layer <= last:
        raise ConfigError(
            f"Layer {layer} can't be steered: the model has {last + 2} layers, and the last has only the norm above it.",
            where="--layer",
            remedy=f"give 0 to {last}" if last >= 0 else "use another method",
        )
    return layer


def trained_modules(config: RmuConfig, model: Any) -> list[str]:
    """The modules that are trained: `lora_targets` in the layer and the two below it.

    Args:
        config: Layer and targets.
        model: The model.

    Returns:
        Their names.

    Raises:
        ConfigError: When there are none of the names.
    """
    top = chosen_layer(config, model)
    layers = range(max(0, top - TRAINED_LAYERS + 1), top + 1)
    wanted = [target.strip() for target in config.lora_targets.split(",")]
    found = [
        name
        for name, module in model.named_modules()
        if (place := _LAYER.search(f".{name}."))
        and int(place[1]) in layers
        and (
            any(f".{name}".endswith(f".{target}") for target in wanted)
            if wanted != ["all-linear"]
            else _is_linear(module)
        )
    ]
    if not found:
        raise ConfigError(
            f"No module of layers {layers[0]} to {top} is called {config.lora_targets}.",
            where="--lora-targets",
            remedy="give names of the model's modules: those of the MLP's last linear layer, as the paper has it",
        )
    return found


def _is_linear(module: nn.Module) -> bool:
    """Whether a module of the model itself multiplies by a matrix; what an adapter has put inside of one is its own."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(module, nn.Embedding)


METHOD = Method(
    name="rmu",
    summary="hidden states of forget rows' answers towards a random direction",
    paper="Li et al., arXiv 2403.03218 (WMDP)",
    config_type=RmuConfig,
    build=Rmu,
    prepare=lambda config, setting: trainable(config, setting, modules=lambda model: trained_modules(config, model)),
    cost="two forward passes and one backward pass a step, down to the layers that are trained",
    compares=lambda _: True,
    narrows=True,
    search={"learning_rate": (1e-4, 2e-4, 4e-4), "steering": (2.0, 10.0)},
)
