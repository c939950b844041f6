"""Quantisation: rounding weights may undo an unlearning that moved them little (Zhang et al., arXiv 2410.16454)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unweave.audit.attacks.base import Target
from unweave.models.loading import Loaded, quiet_transformers
from unweave.models.merging import merge_adapter

GROUP = 64


def quantise(target: Target) -> dict[str, Any]:
    """Merge the adapter, round all linear weights but the head's to 8 and to 4 bits, and test again. The model is spent afterwards.

    Args:
        target: The model.

    Returns:
        For each number of bits: attack success and losses.
    """
    loaded: Loaded = target.loaded
    if loaded.adapter is not None:
        with quiet_transformers():
            loaded.model = merge_adapter(loaded)
        loaded.adapter = None
    head = loaded.model.get_output_embeddings()
    layers = [module for module in loaded.model.modules() if isinstance(module, nn.Linear) and module is not head]
    kept = [layer.weight.detach().clone() for layer in layers]
    found = {}
    for bits, group in ((8, None), (4, GROUP)):
        with torch.no_grad():
            for layer, weight in zip(layers, kept, strict=True):
                layer.weight.copy_(round_to_nearest(weight.float(), bits, group=group))
        found[f"int{bits}"] = {
            "attack_success": target.attack_success(target.prompts(), description=f"{bits} bits"),
            **target.losses(description=f"{bits} bits"),
        }
    return found


def round_to_nearest(weight: Float[Tensor, "out in"], bits: int, *, group: int | None) -> Float[Tensor, "out in"]:
    """Symmetric round-to-nearest quantisation, given back as floats.

    Args:
        weight: A linear layer's weight.
        bits: Of each number.
        group: Input features that share a scale; `None` is one scale an output.

    Returns:
        The nearest representable weights: each differs by at most half a step, the largest magnitude of its group over 2^(bits-1) - 1.
    """
    levels = 2 ** (bits - 1) - 1
    columns = weight.shape[1]
    width = columns if group is None else min(group, columns)
    padded = nn.functional.pad(weight, (0, -columns % width)).unflatten(1, (-1, width))
    step = padded.abs().amax(dim=2, keepdim=True) / levels
    rounded = torch.round(padded / step.clamp(min=torch.finfo(weight.dtype).tiny)).clamp(-levels, levels) * step
    return rounded.flatten(1)[:, :columns]
