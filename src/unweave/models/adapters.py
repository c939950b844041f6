"""Adapters as people have them: what a folder says of itself, how it goes on its base, and what of it is trained."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unweave import progress
from unweave.errors import DataError, ModelError
from unweave.files import read_json

if TYPE_CHECKING:
    from torch import nn

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

# These put tokens or states of their own in front of a row's, or choose among several adapters by the input: a row's tokens, its losses and the
# weights that gradients are taken of are then other than they look.
REFUSED = {
    "PROMPT_TUNING": "prompt tuning",
    "MULTITASK_PROMPT_TUNING": "multitask prompt tuning",
    "P_TUNING": "P-tuning",
    "PREFIX_TUNING": "prefix tuning",
    "CPT": "context-aware prompt tuning",
    "CARTRIDGE": "a cartridge of keys and values",
    "ADAPTION_PROMPT": "an adaption prompt",
    "XLORA": "X-LoRA",
    "POLY": "Poly",
}
# Tensors that every layer shares with the model: PEFT names them in each layer and saves them once.
# Where a layer keeps its own weights, under an adapter or without one.
TAILS = (".weight", ".base_layer.weight", ".token_adapter.base_layer.weight")
SHARED = ("vblora_vector_bank", ".tinylora_v.", ".unilora_theta_d.")


@dataclass(frozen=True)
class AdapterFolder:
    """What an adapter's folder says.

    Attributes:
        folder: Where it is.
        kind: PEFT's name of its kind, such as `LORA`.
        base: Folder or hub id of the model that it was trained on; `None` where it names none.
        revision: Of that model, where it names one.
        task: PEFT's name of its task, or `None`.
    """

    folder: Path
    kind: str
    base: str | None
    revision: str | None
    task: str | None


def is_adapter(name: str | Path) -> bool:
    """Whether a name is a folder with an adapter.

    Args:
        name: A path, or a hub id.

    Returns:
        Whether `adapter_config.json` is there.
    """
    return (Path(name) / CONFIG).is_file()


def read_adapter(folder: Path) -> AdapterFolder:
    """Read what an adapter says of itself, and refuse the kinds that can't be traced or trained here.

    Args:
        folder: A folder with `adapter_config.json`.

    Returns:
        What it says.

    Raises:
        ModelError: When the file is no adapter's, the kind is refused, or there are no safetensors weights.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    place = str(folder)
    try:
        said = read_json(folder / CONFIG, what="The adapter's config")
    except (DataError, OSError) as error:
        raise ModelError(
            f"The adapter's config can't be read: {getattr(error, 'what', error)}",
            where=place,
            remedy="save the adapter anew with PEFT",
        ) from error
    kind = said.get("peft_type") if isinstance(said, dict) else None
    if not isinstance(kind, str):
        raise ModelError(
            f"{CONFIG} names no kind of adapter (peft_type).", where=place, remedy="save the adapter anew with PEFT"
        )
    if kind in REFUSED:
        raise ModelError(
            f"The adapter is {REFUSED[kind]} ({kind}): it adds no weights to the model's own, so rows can't be traced through it or unlearned from it.",
            where=place,
            remedy="give the base model, or an adapter that changes weights, such as LoRA",
        )
    if kind not in {str(getattr(known, "value", known)) for known in PEFT_TYPE_TO_CONFIG_MAPPING}:
        raise ModelError(
            f"The installed PEFT knows no adapter of the kind {kind}.", where=place, remedy="pip install --upgrade peft"
        )
    if not (folder / WEIGHTS).is_file():
        other = next((path.name for path in sorted(folder.glob("adapter_model.*"))), None)
        raise ModelError(
            f"The adapter has no {WEIGHTS}" + (f", only {other}, which may hold any program." if other else "."),
            where=place,
            remedy="save it again with PEFT: model.save_pretrained(folder, safe_serialization=True)"
            if other
            else "copy the adapter's weights there, or train it anew",
        )
    return AdapterFolder(
        folder, kind, said.get("base_model_name_or_path") or None, said.get("revision") or None, said.get("task_type")
    )


def named_base(adapter: AdapterFolder) -> str:
    """The base that an adapter names: as a path from here or from the adapter's folder, or a hub id.

    Args:
        adapter: The adapter.

    Returns:
        A folder or a hub id. A folder that is nowhere is given back as it is named.

    Raises:
        ModelError: When it names none.
    """
    if adapter.base is None:
        raise ModelError(
            "The adapter names no base model.",
            where=str(adapter.folder),
            remedy=f"give --model BASE --adapter {adapter.folder}",
        )
    own = Path(adapter.base)
    # A folder that was moved with all that is in it, and a base that lies in it under the name that it had.
    for place in (own, adapter.folder / own, *([adapter.folder / own.name] if own.name == "base" else [])):
        if (place / "config.json").is_file():
            return str(place)
    return adapter.base


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
    remedy = f"give the base that it was trained on: --model BASE --adapter {adapter.folder}"
    try:
        fit_embeddings(model, adapter)
        config = PeftConfig.from_pretrained(str(adapter.folder))
        config.inference_mode = False
        kind = PeftModelForCausalLM if adapter.task == "CAUSAL_LM" else PeftModel
        # Float32 adapters on a bfloat16 base cost a fifth of the speed for nothing: the base's rounding dominates.
        adapted = kind(model, config, autocast_adapter_dtype=False)
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
    homeless = [name for name in found.unexpected_keys if adapted.base_model.prefix in name]
    for names, what in (
        (missing, "has no weights for"),
        (homeless, "has weights that the model has no place for:"),
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
    from safetensors import safe_open

    modules = {id(module): name for name, module in model.named_modules()}
    ends = [modules.get(id(layer)) for layer in (model.get_input_embeddings(), model.get_output_embeddings())]
    with safe_open(adapter.folder / WEIGHTS, framework="pt") as held:
        for key in held.keys():  # noqa: SIM118 - a safetensors file is no dictionary
            shape = held.get_slice(key).get_shape()
            name = key.removeprefix("base_model.model.")
            for end in (end for end in ends if end):
                # The name's end, since a model of several parts may have renamed what is in front of it.
                own = end.rpartition(".")[2]
                if any(name == f"{own}{tail}" or name.endswith(f".{own}{tail}") for tail in TAILS):
                    return shape[0]
                if name.endswith(f"{own}.lora_embedding_A"):
                    return shape[1]
                if end == ends[1] and name.endswith(f"{own}.lora_B.weight"):
                    return shape[0]
    return None


def adapter_parameters(model: Any) -> "dict[str, nn.Parameter]":
    """The parameters that PEFT trains in a model's active adapter, of whatever kind, be they frozen now or not.

    Args:
        model: A `PeftModel`.

    Returns:
        Name to parameter, in the order of `named_parameters`.
    """
    named = dict(model.named_parameters())
    flags = {name: parameter.requires_grad for name, parameter in named.items()}
    try:
        model.requires_grad_(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.set_adapter(model.active_adapter)
            # Biases that are trained with an adapter belong to no adapter layer.
            model.base_model._mark_only_adapters_as_trainable(model.base_model.model)
        return {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    finally:
        for name, parameter in named.items():
            parameter.requires_grad_(flags[name])


def train_adapter(model: Any, *, where: str) -> None:
    """Let exactly the adapter's own parameters have gradients.

    Args:
        model: A `PeftModel`.
        where: The adapter, for errors.

    Raises:
        ModelError: When it has none.
    """
    own = adapter_parameters(model)
    if not own:
        kind = getattr(model.peft_config[model.active_adapter].peft_type, "value", "")
        raise ModelError(
            f"The adapter ({kind}) has no parameters that can be trained on.",
            where=where,
            remedy="use --adapter-mode new, which merges it into the base and trains a fresh one",
        )
    model.requires_grad_(False)
    for parameter in own.values():
        parameter.requires_grad_(True)


def switches_off(model: Any) -> bool:
    """Whether a model without its adapter is the base: not where the adapter has trained biases of the base itself.

    Args:
        model: A `PeftModel`.

    Returns:
        Whether `switched_off` gives the base.
    """
    return getattr(model.peft_config[model.active_adapter], "bias", None) in ("none", None)


@contextlib.contextmanager
def switched_off(model: Any) -> Iterator[None]:
    """The base alone, as long as the block lasts.

    Args:
        model: A `PeftModel`.

    Yields:
        Nothing.

    Raises:
        ModelError: When the adapter has trained weights of the base itself, which no switch takes back.
    """
    if not switches_off(model):
        raise ModelError(
            "The adapter was trained with biases of the base: switched off it leaves the base with other biases than it had.",
            remedy="give the base model by itself",
        )
    with model.disable_adapter():
        yield
