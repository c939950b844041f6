"""Putting an adapter on its base, so that all of it is there: with as many embeddings, and every tensor in its place."""

from collections.abc import Sequence
from typing import Any

from unweave import progress
from unweave.errors import ModelError
from unweave.models.adapters import WEIGHTS, AdapterFolder, adapter_parameters
from unweave.models.tensor_files import read_header

# Where a layer keeps its own weights, under an adapter or without one.
TAILS = (".weight", ".base_layer.weight", ".token_adapter.base_layer.weight")
# Tensors that every layer shares with the model: PEFT names them in each layer and saves them once.
SHARED = ("vblora_vector_bank", ".tinylora_v.", ".unilora_theta_d.")


def put_on(model: Any, adapter: AdapterFolder, *, base: str) -> Any:
    """Load an adapter onto its base.

    Args:
        model: The base; it is changed in place.
        adapter: The adapter.
        base: The base's name, for errors.

    Returns:
        The `PeftModel`.

    Raises:
        ModelError: When it does not fit.
    """
    from peft import PeftConfig, PeftModel, PeftModelForCausalLM

    device = next(model.parameters()).device
    remedy = f"give the base that it was trained on: `model` BASE `adapter` {adapter.folder}"
    read_header(adapter.folder / WEIGHTS)
    try:
        fit_embeddings(model, adapter)
        ends, own = _ends(model), [*model.named_parameters(), *model.named_buffers()]
        config = PeftConfig.from_pretrained(str(adapter.folder))
        config.inference_mode = False
        kind = PeftModelForCausalLM if adapter.task == "CAUSAL_LM" else PeftModel
        # Float32 adapters on a bfloat16 base cost a fifth of the speed for nothing: the base's rounding dominates.
        adapted = kind(model, config, autocast_adapter_dtype=False)
        before = [tensor._version for _, tensor in own]
        found = adapted.load_adapter(
            str(adapter.folder),
            "default",
            is_trainable=True,
            torch_device=str(device),
            autocast_adapter_dtype=False,
            key_mapping=getattr(model, "_checkpoint_conversion_mapping", {}),
        )
    except Exception as error:
        # Each kind of adapter, and the reader of safetensors, has errors of its own.
        detail = " ".join(str(error).split())
        raise ModelError(
            f"The {adapter.kind} adapter does not fit the model {base}: {detail[:300]}",
            where=str(adapter.folder),
            remedy=remedy,
        ) from error
    missing = [name for name in found.missing_keys if not any(part in name for part in SHARED)]
    # Embeddings that were saved with an adapter may come twice, once as the base's.
    prefix = adapted.base_model.prefix
    homeless = [name for name in found.unexpected_keys if prefix in name or not _within_end(name, ends)]
    # What the adapter trains of the base itself, such as biases, is the adapter's; nothing else of the base is.
    trained = {id(parameter) for parameter in adapter_parameters(adapted).values()}
    replaced = [
        name
        for (name, tensor), version in zip(own, before, strict=True)
        if tensor._version != version and id(tensor) not in trained and not _is_end(name, ends)
    ]
    for names, what in (
        (missing, "has no weights for"),
        (homeless, "has weights that the model has no place for:"),
        (replaced, "would replace weights of the base itself:"),
    ):
        if names:
            raise ModelError(
                f"The {adapter.kind} adapter does not fit the model {base}: it {what} {names[0]}"
                + (f" and {len(names) - 1} more." if len(names) > 1 else "."),
                where=str(adapter.folder),
                remedy=remedy,
            )
    return adapted


def fit_embeddings(model: Any, adapter: AdapterFolder) -> None:
    """Give the base as many embeddings as the adapter was trained with, where its weights show another number.

    New ones are the mean of the old, until the adapter's own are loaded over them.

    Args:
        model: The base; it is changed in place.
        adapter: The adapter.
    """
    import torch

    wanted, present = embedding_rows(model, adapter), model.get_input_embeddings().weight.shape[0]
    if wanted is None or wanted == present:
        return
    means = {}
    layers = {"input": model.get_input_embeddings, "output": model.get_output_embeddings}
    for name, layer in layers.items():
        weight = getattr(layer(), "weight", None)
        means[name] = None if weight is None else weight.detach().double().mean(dim=0)
    with torch.random.fork_rng(devices=[]):
        model.resize_token_embeddings(wanted, mean_resizing=False)
    with torch.no_grad():
        for name, layer in layers.items():
            if means[name] is not None and wanted > present:
                weight = layer().weight
                weight[present:] = means[name].to(weight)
    progress.say(f"the adapter was trained with {wanted} embeddings, the base has {present}: resized")


def embedding_rows(model: Any, adapter: AdapterFolder) -> int | None:
    """How many embeddings the model had when an adapter was trained, as its weights show.

    Args:
        model: The base.
        adapter: The adapter.

    Returns:
        The number, or `None` where no tensor of the adapter shows it.
    """
    ends = _ends(model)
    for key, held in read_header(adapter.folder / WEIGHTS).items():
        name = key.removeprefix("base_model.model.")
        if _is_end(name, ends):
            return held.shape[0]
        for end in (end for end in ends if end):
            own = end.rpartition(".")[2]
            if name.endswith(f"{own}.lora_embedding_A"):
                return held.shape[1]
            if end == ends[1] and name.endswith(f"{own}.lora_B.weight"):
                return held.shape[0]
    return None


def _ends(model: Any) -> list[str | None]:
    """The paths of input embedding and output head."""
    modules = {id(module): name for name, module in model.named_modules()}
    return [modules.get(id(layer)) for layer in (model.get_input_embeddings(), model.get_output_embeddings())]


def _within_end(name: str, ends: Sequence[str | None]) -> bool:
    """Whether a tensor is anything of the embedding's or the head's."""
    return any(end is not None and end.rpartition(".")[2] in name.split(".") for end in ends)


def _is_end(name: str, ends: Sequence[str | None]) -> bool:
    """Whether a tensor is the embedding's or the head's own; by the name's end, since a model of several parts may have renamed what is in front of it."""
    places = [f"{end.rpartition('.')[2]}{tail}" for end in ends if end for tail in TAILS]
    return any(name == place or name.endswith(f".{place}") for place in places)
