"""RMU, representation misdirection: hidden states of forget rows towards a random direction, of retain rows where they were (Li et al., arXiv 2403.03218).

States are those of the answers' tokens. With the prompts', the first token of each row is among them, whose state is hundreds of times as large as any other
in many models (an attention sink): the loss would be of that one token.

A target that is short beside the states only shortens them, which the next layer's norm takes back. Lengths differ from model to model (155 in the middle of
SmolLM2-135M; published runs on others have targets of 2 to 20). So the target's length is by default a multiple of the state's own, as in adaptive RMU (Dang
et al., arXiv 2408.06223).
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unweave.errors import ConfigError
from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import Default
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unweave.unlearning.context import Context
    from unweave.unlearning.view import StepView

ADAPTIVE = 5.0
"""The target's length by default, as a multiple of the state's own: that of adaptive RMU's published runs."""

TRAINED_LAYERS = 3
"""The layer whose states are looked at, and those below it that are trained with it."""

_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class RMU(Balanced):
    """The forget part is the mean of (h - c u)^2 over features and answer tokens, behind a middle layer, u a fixed random unit vector with entries above 0.

    As in the official code, mlp.down_proj of that layer and of the two below it are trained; here by low-rank updates.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.RMU(steering=4.0), epochs=1).method
        'rmu'

    Attributes:
        layer: Which layer, from 0, as the model counts them (`layers[7]`, whose states transformers has as `hidden_states[8]`); by default at 7/16 of the
            depth, as layer 7 of 16.
        steering: c, the length of the target; by default five times that of each token's own state before (adaptive RMU, arXiv 2408.06223).
        retain_loss: `states`: the mean of (h - h before)^2 (the paper). `nll`, `kl`: as of other methods.
    """

    name: ClassVar = "rmu"
    summary: ClassVar = "hidden states of forget rows' answers towards a random direction"
    paper: ClassVar = "Li et al., arXiv 2403.03218 (WMDP); Dang et al., arXiv 2408.06223"
    cost: ClassVar = "two forward passes and one backward pass a step, down to the layers that are trained"
    narrows: ClassVar = True
    search: ClassVar = {"learning_rate": (1e-4, 2e-4, 4e-4), "steering": (None, 50.0)}
    defaults: ClassVar = {
        "lora_targets": Default("down_proj", "Modules of the three layers that are trained."),
        "learning_rate": Default(1e-3, "Twice that of methods that train all layers."),
    }

    layer: int | None = None
    steering: float | None = None
    retain_loss: Literal["states", "nll", "kl"] = "states"  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def compares(self) -> bool:
        """With the states before, always."""
        return True

    def prepare(self, context: "Context") -> "Context":
        """Make three layers trainable.

        Args:
            context: The model.

        Returns:
            The same with what is trained.
        """
        from unweave.unlearning.trainable import trainable

        targets = context.options.lora_targets
        return trainable(context, modules=lambda model: trained_modules(self, model, targets))

    def cautions(self, context: "Context") -> list[str]:
        """Say that `stop_loss` is never looked at, where it was given.

        Args:
            context: The options.

        Returns:
            Sentences.
        """
        if context.options.stop_loss is None or self.retain_loss != "states":
            return []
        return [
            "No effect has `stop_loss`: rmu looks at hidden states, and knows no loss of the forget rows. Give `check_every`, or `target_loss`."
        ]

    def forget_part(self, step: "StepView") -> "Tensor":
        """Squared distance of the forget rows' states from the target.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        layer = chosen_layer(self, step.model)
        found = step.answer_states(layer)
        length: float | Tensor | None = self.steering
        if length is None:
            length = ADAPTIVE * step.reference_answer_states(layer).states.norm(dim=-1, keepdim=True)
        squares = (found.states - length * self._direction(step).to(found.states.device)).square().mean(dim=-1)
        return step.masked_mean(found.means(squares), Role.UNWANTED)

    def retain_part(self, step: "StepView") -> "Tensor":
        """Squared distance of the retain rows' states from where they were.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        if self.retain_loss != "states":
            return super().retain_part(step)
        layer = chosen_layer(self, step.model)
        found = step.answer_states(layer)
        squares = (found.states - step.reference_answer_states(layer).states).square().mean(dim=-1)
        return step.masked_mean(found.means(squares), Role.RETAIN)

    def _direction(self, step: "StepView") -> "Tensor":
        """U, the same in all steps."""

        def make() -> "Tensor":
            import torch

            generator = torch.Generator().manual_seed(step.context.options.seed)
            direction = torch.rand(step.model.config.get_text_config().hidden_size, generator=generator)
            return direction / direction.norm()

        return step.context.once("rmu", make)


def chosen_layer(method: RMU, model: Any) -> int:
    """The layer whose states are looked at.

    Args:
        method: Which, where it says so.
        model: The model.

    Returns:
        From 0.

    Raises:
        ConfigError: When the model has no such layer, or it is the last, whose states transformers gives behind the final norm.
    """
    last = model.config.get_text_config().num_hidden_layers - 2
    layer = method.layer if method.layer is not None else min(round((last + 2) * 7 / 16), last)
    if not 0 <= layer <= last:
        raise ConfigError(
            f"Layer {layer} can't be steered: the model has {last + 2} layers, and the last has only the norm above it.",
            where="`layer`",
            remedy=f"give 0 to {last}" if last >= 0 else "use another method",
        )
    return layer


def trained_modules(method: RMU, model: Any, lora_targets: str) -> list[str]:
    """The modules that are trained: `lora_targets` in the layer and the two below it.

    Args:
        method: Which layer.
        model: The model.
        lora_targets: Modules of the layers.

    Returns:
        Their names.

    Raises:
        ConfigError: When there are none of the names.
    """
    top = chosen_layer(method, model)
    layers = range(max(0, top - TRAINED_LAYERS + 1), top + 1)
    wanted = [target.strip() for target in lora_targets.split(",")]
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
            f"No module of layers {layers[0]} to {top} is called {lora_targets}.",
            where="`lora_targets`",
            remedy="give names of the model's modules: those of the MLP's last linear layer, as the paper has it",
        )
    return found


def _is_linear(module: "nn.Module") -> bool:
    """Whether a module of the model itself multiplies by a matrix; what an adapter has put inside of one is its own."""
    from torch import Tensor, nn

    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(module, nn.Embedding)
