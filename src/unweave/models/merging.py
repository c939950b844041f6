"""Making an adapter part of the weights, so that the model computes what it computed: tied ends are untied first, and logits are compared."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from unweave import progress
from unweave.errors import ModelError
from unweave.models.loading import Loaded
from unweave.models.pretrained import require_finite
from unweave.models.probe import fixed_logits
from unweave.models.quiet import quiet_transformers
from unweave.models.saving import save_model

TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.1}
"""Largest change of a logit by a merge, relative to the largest logit: sums of weights are rounded to the weights' dtype."""


def merged_model(loaded: Loaded, folder: Path, *, save: bool = True) -> Loaded:
    """A model with its adapter in its weights, as a base by itself.

    Args:
        loaded: The model; it is changed in place.
        folder: Where the base lies, or will lie.
        save: Whether to write it now.

    Returns:
        The base; a model without an adapter as it is.
    """
    if loaded.adapter is None:
        return loaded
    with quiet_transformers():
        merged = Loaded(merge_adapter(loaded), loaded.tokenizer, str(folder), None)
    if save:
        save_model(merged.model, merged.tokenizer, folder)
    return merged


def merge_adapter(loaded: Loaded) -> Any:
    """Merge a model's active adapter into its base.

    Args:
        loaded: The model, a `PeftModel`; it is changed in place.

    Returns:
        The base with the adapter in its weights, frozen and in evaluation mode.

    Raises:
        ModelError: When the base is quantised, PEFT can't merge an adapter of this kind, or the merged model is another than the one before.
    """
    model, where = loaded.model, str(loaded.adapter)
    kind = getattr(model.peft_config[model.active_adapter].peft_type, "value", "its kind")
    # What trains a model's own adapter on, or takes a model without one, needs no merge.
    remedy = "train it on as it is (forget `adapter_mode` continue), or merge it yourself and give the merged model"
    if is_quantised(model):
        raise ModelError(
            "An adapter can't be merged into quantised weights: they would be rounded again, and be another model.",
            where=where,
            remedy="use `adapter_mode` continue, or `quantization` none with an unquantised base",
        )
    model.eval()
    before = fixed_logits(model)
    untie(model)
    try:
        merged = model.merge_and_unload()
    except Exception as error:
        detail = " ".join(str(error).split())
        raise ModelError(
            f"The adapter ({kind}) can't be merged into its base: {detail[:300]}", where=where, remedy=remedy
        ) from error
    _note_ends(merged)
    merged.requires_grad_(False)
    merged.eval()
    after = fixed_logits(merged)
    dtype = next(merged.parameters()).dtype
    change = float((after - before).abs().max() / before.abs().max().clamp(min=1.0))
    # Not <=: a logit that is no number must not pass.
    if not change <= TOLERANCE.get(dtype, 0.1):
        raise ModelError(
            f"Merged, the adapter ({kind}) makes another model: its logits differ by {change:.2%}.",
            where=where,
            remedy=remedy,
        )
    require_finite(merged.named_parameters(), where=where)
    if dtype.itemsize < 4 and change > 1e-3:
        name = str(dtype).removeprefix("torch.")
        progress.say(f"the merged weights are rounded to {name}: that moves the logits by {change:.1%}")
    return merged


def is_quantised(model: nn.Module) -> bool:
    """Whether weights are held in fewer bits than they are computed in.

    Args:
        model: The model.

    Returns:
        Whether it was loaded quantised.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return bool(getattr(base, "is_quantized", False)) or getattr(base, "hf_quantizer", None) is not None


def untie(model: Any) -> bool:
    """Give the output head weights of its own where an adapter touches the tensor that it shares with the embedding.

    Merged into a shared tensor, what was learned for one end would be added to the other as well.

    Args:
        model: A `PeftModel`; it is changed in place.

    Returns:
        Whether there was something to untie.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    ends = [_bare(layer) for layer in layers]
    weights = [getattr(end, "weight", None) for end in ends]
    shared = weights[1]
    if shared is None or weights[0] is not shared:
        return False
    # Modules and tokens that are saved whole have tensors of their own already, and PEFT merges those rightly.
    if not any(isinstance(layer, BaseTunerLayer) for layer in layers):
        return False
    ends[1].weight = nn.Parameter(shared.detach().clone(), requires_grad=False)
    return True


def _bare(layer: Any) -> Any:
    """A layer without what PEFT has put around it."""
    while isinstance(inner := getattr(layer, "base_layer", None), nn.Module):
        layer = inner
    return layer


def _note_ends(model: Any) -> None:
    """Where head and embedding are two tensors by now, write that down, so that loading the saved model ties none."""
    first, last = (
        getattr(layer, "weight", None) for layer in (model.get_input_embeddings(), model.get_output_embeddings())
    )
    if first is None or last is None or first is last:
        return
    configs = [model.config, model.config.get_text_config()]
    if any(getattr(config, "tie_word_embeddings", False) for config in configs):
        for config in configs:
            config.tie_word_embeddings = False
        progress.say("the adapter changes a tensor that embedding and output head share: each has its own from here on")
