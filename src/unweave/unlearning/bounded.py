"""Stable forgetting: gradient difference on a bounded adapter, whose change of each weight can't exceed a gain (arXiv 2509.24166).

Plain low-rank ascent grows without bound; here delta W = gain * sin(omega A B) or gain * tanh(omega A B): neither the change nor its gradient can explode.
A begins as a LoRA's does and B at zero, so that omega scales the angle: a step of the optimizer turns it omega times as far as plain LoRA's product moves.
The sine of a low-rank matrix is no low-rank matrix: the result is saved as a whole model. Its dtype holds the change, or float32 is taken: bfloat16
has eight bits, and a change of a thousandth of a weight is rounded away.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unweave.errors import ConfigError
from unweave.models.pretrained import require_finite
from unweave.unlearning.applying import ROUNDING
from unweave.unlearning.context import Context
from unweave.unlearning.merging import OWN_BASE, merged_base

if TYPE_CHECKING:
    from unweave.unlearning.methods.stable import Stable


class Bounded(nn.Module):
    """A bounded change of one linear layer's weight, as a path beside it.

    Args:
        layer: The layer.
        method: Bound, omega, gain, rank.
        generator: Of A's first values; B begins at zero.
    """

    def __init__(self, layer: nn.Linear, method: "Stable", generator: torch.Generator):
        super().__init__()
        out, size = layer.weight.shape
        wide = torch.promote_types(layer.weight.dtype, torch.float32)
        first = torch.randn(method.rank, size, generator=generator) / size**0.5
        self.a = nn.Parameter(first.to(layer.weight.device, wide))
        self.b = nn.Parameter(torch.zeros(out, method.rank).to(layer.weight.device, wide))
        self.omega, self.bound = method.omega, torch.sin if method.bound == "sin" else torch.tanh
        self.gain = method.gain if method.gain is not None else float(layer.weight.detach().abs().float().mean())

    def delta(self) -> Float[Tensor, "out in"]:
        """The change of the weight, in float32: at omega 100, bfloat16 has no digits left of the angle."""
        return self.gain * self.bound(self.omega * (self.b @ self.a))

    def forward(self, inputs: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """What the change adds to the layer's output.

        Args:
            inputs: The layer's inputs.

        Returns:
            The addition.
        """
        return functional.linear(inputs, self.delta().to(inputs.dtype))


def put_on(method: "Stable", context: Context) -> Context:
    """Merge the model's adapter and put the bounded one on.

    Args:
        method: Targets and bound.
        context: The model.

    Returns:
        The same with the new model.

    Raises:
        ConfigError: When no module has one of the names.
    """
    loaded = merged_base(context.loaded)
    loaded.model.requires_grad_(False)
    names = {name.strip() for name in method.bounded_targets.split(",")}
    layers = [
        layer
        for name, layer in loaded.model.named_modules()
        if name.rpartition(".")[2] in names and isinstance(layer, nn.Linear)
    ]
    if not layers:
        raise ConfigError(
            f"No linear layer is called one of {', '.join(sorted(names))}.",
            where="`bounded_targets`",
            remedy="give names of the model's modules",
        )
    generator = torch.Generator().manual_seed(context.options.seed)
    for layer in layers:
        path = Bounded(layer, method, generator)
        layer.add_module("bounded", path)
        layer.register_forward_hook(_add)
    return replace(context, loaded=loaded, prepared=layers)


def _add(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    path = layer._modules.get("bounded")
    return output if path is None else output + path(inputs[0])


def sizes_of_change(model: Any) -> dict[str, Any]:
    """How large the change of the weights is, and what of it the model's own dtype would keep.

    Args:
        model: The trained model.

    Returns:
        The change relative to the weights it is added to, the share that rounding would take, and cautions.
    """
    changed, whole, lost = _sizes(model)
    dtype = str(model.dtype).removeprefix("torch.")
    cautions = []
    if lost > ROUNDING:
        cautions.append(
            f"stable: {dtype} would round away {lost:.0%} of the change of the weights. The model is saved in float32: load it with `dtype` float32."
        )
    return {"relative_change": changed / whole, "lost_to_rounding": lost, "cautions": cautions}


@torch.no_grad()
def _sizes(model: nn.Module) -> tuple[float, float, float]:
    """The norms of the change and of the weights it is for, and what rounding to the weights' dtype would take, as a share of the former."""
    changed, whole, missed = 0.0, 0.0, 0.0
    for layer, path in _bounded(model):
        delta = path.delta()
        wanted = layer.weight.to(delta.dtype) + delta
        changed += float(delta.double().square().sum())
        whole += float(layer.weight.double().square().sum())
        missed += float((wanted - wanted.to(layer.weight.dtype)).double().square().sum())
    return changed**0.5, whole**0.5, (missed / changed) ** 0.5 if changed else 0.0


def _bounded(model: nn.Module) -> list[tuple[nn.Linear, Bounded]]:
    """Layers with a bounded path, and the path."""
    pairs = [(layer, layer._modules.get("bounded")) for layer in model.modules() if isinstance(layer, nn.Linear)]
    return [(layer, path) for layer, path in pairs if isinstance(path, Bounded)]


def take_in(context: Context) -> Context:
    """Make the change part of the weights, in a dtype that holds it.

    Args:
        context: The trained model; it is changed in place.

    Returns:
        The same with the whole model.
    """
    loaded = context.loaded
    if _sizes(loaded.model)[2] > ROUNDING:
        loaded.model.to(torch.promote_types(loaded.model.dtype, torch.float32))
    with torch.no_grad():
        for layer, path in _bounded(loaded.model):
            layer.weight.copy_(layer.weight.to(path.a.dtype) + path.delta())
            del layer._modules["bounded"]
    require_finite(loaded.model.named_parameters(), where="`stable`")
    return replace(context, loaded=replace(loaded, base=OWN_BASE, adapter=None))
