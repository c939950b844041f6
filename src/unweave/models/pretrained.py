"""The one door to transformers' `from_pretrained`: no program that comes with a model is run, and what is loaded is all that the files hold.

transformers asks on the terminal whether to run a model's own program when no argument says so; it fills missing weights with random numbers, leaves weights
that it has no place for, and says so in notices. Here each of these is an error that names the tensor.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unweave.errors import ModelError
from unweave.models.tensor_files import Held, read_headers, weight_files

SHOWN = 3
ANEW = "copy the model anew; config.json and the weights must belong together"


def read_pretrained(kind: Any, place: str | Path, *, revision: str | None = None, **options: Any) -> Any:
    """Load a config or a tokenizer, and run nothing that lies beside it.

    Args:
        kind: A class of transformers with `from_pretrained`.
        place: Folder or hub id.
        revision: Of a hub model.
        **options: As the class takes them.

    Returns:
        What it gives.
    """
    if revision is not None:
        options["revision"] = revision
    return kind.from_pretrained(str(place), trust_remote_code=False, **options)


def read_weights(
    kind: Any, place: str | Path, *, revision: str | None = None, only_body: bool = False, **options: Any
) -> Any:
    """Load a model from safetensors, whole.

    Args:
        kind: A class of transformers for models.
        place: Folder or hub id.
        revision: Of a hub model.
        only_body: Whether the class leaves heads out: a head that the files hold, and a pooler that they lack, are then no fault.
        **options: As the class takes them.

    Returns:
        The model.

    Raises:
        ModelError: When a file is broken, or tensors are missing, left over, or of another shape or kind than the model's.
    """
    # Not the files of a GGUF's folder: those are another reader's.
    held = read_headers(weight_files(Path(place))) if Path(place).is_dir() and "gguf_file" not in options else {}
    model, found = read_pretrained(
        kind,
        place,
        revision=revision,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **options,
    )
    where = str(place)
    if wrong := sorted(found["mismatched_keys"]):
        name, there, here = wrong[0]
        raise ModelError(
            f"The model can't be loaded: the shapes of {_named(one[0] for one in wrong)} are not those that config.json asks for: "
            f"{tuple(there)} in the file, {tuple(here)} in the model for {name}.",
            where=where,
            remedy=ANEW,
        )
    missing = [name for name in found["missing_keys"] if not (only_body and "pooler." in name)]
    if missing:
        raise ModelError(
            f"The model's files lack {len(missing)} of its weights, such as {min(missing)}.",
            where=where,
            remedy="copy the model anew; where weights are tied, its config.json must say tie_word_embeddings",
        )
    quantised = bool(getattr(model, "is_quantized", False))
    more = [] if quantised else [name for name in found["unexpected_keys"] if not only_body or _in_body(name, model)]
    if more:
        raise ModelError(
            f"The model's files hold {_named(more)}, for which the model has no place.",
            where=where,
            remedy="give the config.json that belongs to these weights; to leave such tensors out, load the model with transformers and save it anew",
        )
    if found.get("error_msgs"):
        raise ModelError(f"The model can't be loaded: {found['error_msgs'][0]}", where=where, remedy=ANEW)
    if not quantised:
        _require_floats(model, held, where=where)
    return model


def without_weights(place: str | Path, *, revision: str | None = None) -> nn.Module:
    """A causal model of the shapes that a config names, without values: on the meta device.

    Args:
        place: Folder or hub id.
        revision: Of a hub model.

    Returns:
        The model.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = read_pretrained(AutoConfig, place, revision=revision)
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def require_finite(tensors: Iterable[tuple[str, Tensor]], *, where: str | None) -> None:
    """Refuse weights of which some are no numbers, or infinite.

    Args:
        tensors: Names and tensors.
        where: Whose they are, for the error.

    Raises:
        ModelError: Naming the first tensor.
    """
    if (name := not_finite(tensors)) is not None:
        raise ModelError(
            f"The weights of '{name}' are not all finite numbers.",
            where=where,
            remedy="train the model anew, with a smaller step size, or copy it anew",
        )


@torch.no_grad()
def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """The first tensor that holds NaN or infinity.

    Args:
        tensors: Names and tensors; those of whole numbers, and those without values, hold neither.

    Returns:
        Its name, or `None`.
    """
    for name, tensor in tensors:
        if not tensor.is_floating_point() or tensor.is_meta or not tensor.numel():
            continue
        # One pass without a copy; a sum that is not finite may also be one of large numbers.
        if not math.isfinite(float(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def _require_floats(model: nn.Module, held: Mapping[str, Held], *, where: str) -> None:
    """Whole numbers in the place of weights would be taken for weights, without their scale."""
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and name in held and not held[name].is_float:
            raise ModelError(
                f"The weights of '{name}' are whole numbers ({held[name].dtype}), and the config.json names no quantisation.",
                where=where,
                remedy=ANEW,
            )


def _in_body(name: str, model: nn.Module) -> bool:
    """Whether a tensor that was left over belongs to a part that the model has."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    parts = {part for part, _ in model.named_children()}
    return name.removeprefix(prefix if prefix != "." else "").split(".")[0] in parts and "pooler." not in name


def _named(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more tensors" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more
