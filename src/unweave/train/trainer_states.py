"""The state of AdamW as other trainers have it: in memory, and in their checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave.errors import ModelError
from unweave.train.states import Snapshot, State, Tensors


def snapshot_of(optimizer: Any, model: Any, *, step: int) -> Snapshot:
    """The state of any trainer's Adam or AdamW, by the names of the model's parameters.

    Args:
        optimizer: The optimizer, wrapped or not.
        model: The model, wrapped or not.
        step: Steps made.

    Returns:
        The snapshot, copied.

    Raises:
        ModelError: When the optimizer keeps no moments of Adam's.
    """
    inner = getattr(optimizer, "optimizer", optimizer)
    masters = dict(zip(map(id, getattr(inner, "model_parameters", [])), getattr(inner, "masters", []), strict=True))
    parts: list[Tensors] = [{}, {}, {}]
    for name, parameter in model.named_parameters():
        own = masters.get(id(parameter), parameter)
        held = inner.state.get(own, {})
        if not parameter.requires_grad or "exp_avg_sq" not in held:
            continue
        for part, value in zip(parts, (own, held["exp_avg"], held["exp_avg_sq"]), strict=True):
            part[name] = value.detach().to(torch.promote_types(value.dtype, torch.float32)).clone()
    if not parts[0]:
        raise ModelError(
            f"{type(inner).__name__} keeps no moments as Adam does.",
            remedy="train with AdamW, or without optimizer=True",
        )
    return Snapshot.of_group(State(step, *parts), inner.param_groups[0])


def of_checkpoint(folder: Path, parameters: Mapping[str, Tensor]) -> Snapshot:
    """The state in a `checkpoint-N` folder of a `transformers.Trainer`, read as tensors and numbers alone: no code in it runs.

    Args:
        folder: The checkpoint, of an adapter or of a whole model.
        parameters: The trained parameters of the model by name, in its order; their values do not matter.

    Returns:
        The snapshot.

    Raises:
        ModelError: When there is no optimizer in it, it is of something else than Adam, or it does not fit the model.
    """
    path = folder / "optimizer.pt"
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        groups = saved["param_groups"]
        step = int(max(float(own["step"]) for own in saved["state"].values()))
        order = [index for group in groups for index in group["params"]]
        moments = [
            None if (own := saved["state"].get(index)) is None else (own["exp_avg"], own["exp_avg_sq"])
            for index in order
        ]
        names = _in_groups(list(parameters), [len(group["params"]) for group in groups])
        plain = dict.fromkeys(order)
    except FileNotFoundError as error:
        raise ModelError(
            "The checkpoint holds no optimizer.", where=str(path), remedy="save checkpoints whole, not the model alone"
        ) from error
    except Exception as error:
        # What torch raises on a file that is no archive, or holds more than tensors, is of many kinds.
        raise ModelError(
            f"The optimizer's state is no Adam's, or holds more than tensors and numbers ({type(error).__name__}).",
            where=str(path),
            remedy="give a checkpoint of AdamW",
        ) from error
    fits = len(names) == len(plain) and all(
        own is None or own[0].shape == parameters[name].shape for name, own in zip(names, moments, strict=True)
    )
    if not fits:
        raise ModelError(
            f"The optimizer's state is of {len(order)} tensors and the model trains {len(parameters)}, or their shapes differ.",
            where=str(path),
            remedy="give the model that the checkpoint is of",
        )
    found = dict(zip(names, moments, strict=True))
    masters = (
        dict(zip(names, saved["masters"], strict=True)) if "masters" in saved else _weights(folder, list(parameters))
    )
    parts: list[Tensors] = [{}, {}, {}]
    for name, parameter in parameters.items():
        wide = torch.promote_types(parameter.dtype, torch.float32)
        own = found[name]
        parts[0][name] = masters[name].to(wide)
        for part, number in zip(parts[1:], (0, 1), strict=True):
            part[name] = torch.zeros(parameter.shape, dtype=wide) if own is None else own[number].to(wide)
    return Snapshot.of_group(State(step, *parts), groups[0])


def _in_groups(names: list[str], sizes: list[int]) -> list[str]:
    """The trained parameters in the order of an optimizer: transformers puts those with weight decay first, and biases and norms behind them."""
    if len(sizes) < 2:
        return names
    last = [name for name in names if "bias" in name or "norm" in name.lower()]
    first = [name for name in names if name not in set(last)]
    return [*first, *last] if [len(first), len(last)] == sizes[:2] else names


def _weights(folder: Path, names: list[str]) -> Tensors:
    """The weights of a checkpoint by the model's names: PEFT leaves an adapter's own name out in files."""
    from safetensors import safe_open

    for path in (folder / "adapter_model.safetensors", folder / "model.safetensors"):
        if path.is_file():
            with safe_open(path, framework="pt") as file:
                held = {key: key for key in file.keys()}  # noqa: SIM118  # it is no mapping
                keys = {name: held.get(name) or held.get(name.replace(".default.", ".")) for name in names}
                if missing := [name for name, key in keys.items() if key is None]:
                    raise ModelError(
                        f"The checkpoint has no weights of {missing[0]}.",
                        where=str(path),
                        remedy="give the model that the checkpoint is of",
                    )
                return {name: file.get_tensor(str(key)) for name, key in keys.items()}
    raise ModelError(
        "The checkpoint holds no weights in one file.", where=str(folder), remedy="save it with safetensors"
    )
