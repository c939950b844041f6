"""Quantisation: rounding weights may undo an unlearning that moved them little (Zhang et al., arXiv 2410.16454)."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unweave.errors import ModelError
from unweave.evaluation.attacks.base import Attack, Figure, Target
from unweave.evaluation.attacks.material import Material, without_prompts
from unweave.models.loading import Loaded
from unweave.models.merging import is_quantised, merge_adapter
from unweave.models.quiet import quiet_transformers
from unweave.models.selection import is_conv1d, is_linear

GROUP = 64


def quantise(target: Target) -> dict[str, Any]:
    """Merge the adapter, round all linear weights but the head's to 8 and to 4 bits, and test again. The model is spent afterwards.

    Args:
        target: The model.

    Returns:
        For each number of bits: attack success and losses.

    Raises:
        ModelError: When the model is held in few bits already.
    """
    found = {}
    for bits, _ in rounded(target.loaded, ((8, None), (4, GROUP)), label=target.label):
        found[f"int{bits}"] = {
            "attack_success": target.attack_success(target.prompts(), description=f"{bits} bits"),
            **target.losses(description=f"{bits} bits"),
        }
    return found


def rounded(
    loaded: Loaded, formats: Sequence[tuple[int, int | None]], *, label: str = "model"
) -> Iterator[tuple[int, int | None]]:
    """Merge the adapter, and round all linear weights but the head's, to one format after the other. The model is spent afterwards.

    Args:
        loaded: The model.
        formats: Bits, and the input features that share a scale (`None`: one scale an output).
        label: Names the model in errors.

    Yields:
        The format that the weights have now.

    Raises:
        ModelError: When the model is held in few bits already.
    """
    if is_quantised(loaded.model):
        raise ModelError(
            f"The model '{label}' is quantised already: there is nothing to round.",
            where=loaded.base,
            remedy="leave quantise out of `attacks`",
        )
    if loaded.adapter is not None:
        with quiet_transformers():
            loaded.model = merge_adapter(loaded)
        loaded.adapter = None
    weights = rounded_weights(loaded.model)
    kept = [weight.detach().clone() for weight in weights]
    for bits, group in formats:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                # Experts' weights lie in one tensor of three dimensions; the last is not cut by a scale of its own.
                flat = before.float().flatten(0, -2)
                weight.copy_(round_to_nearest(flat, bits, group=group).view(before.shape))
        yield bits, group


def rounded_weights(model: Any) -> list[Tensor]:
    """The weights that quantisers round: of linear layers and of experts, as [out, in], without the output head.

    Args:
        model: The model.

    Returns:
        The weights, or views of them.
    """
    head = model.get_output_embeddings()
    own = [module for module in model.modules() if is_linear(module) and module is not head]
    weights = [module.weight.detach().T if is_conv1d(module) else module.weight.detach() for module in own]
    experts = [one.detach() for name, one in model.named_parameters() if one.ndim == 3 and ".experts." in f".{name}"]
    return weights + experts


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


def _figures(found: dict[str, Any]) -> list[Figure]:
    bits = [key for key in found if key != "seconds"]
    successes = [Figure(f"attack success, {key}", (key, "attack_success"), "share", "higher") for key in bits]
    return successes + [
        Figure(f"loss of clean answers, {key}", (key, "loss_clean"), "loss", None)
        for key in bits
        if "loss_clean" in found[key]
    ]


def _omits(material: Material) -> list[str]:
    return [] if material.clean else ["the loss of clean answers: no rows to keep"]


ATTACK = Attack(quantise, _figures, refuses=without_prompts, omits=_omits, spends=True)
