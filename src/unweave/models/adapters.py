"""Adapters as people have them: what a folder says of itself, and what of a model PEFT trains."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    if kind not in {str(getattr(one, "value", one)) for one in PEFT_TYPE_TO_CONFIG_MAPPING}:
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
            remedy="use `adapter_mode` new, which merges it into the base and trains a fresh one",
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
