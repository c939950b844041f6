"""AdamW's state on the way of a run: parameters and both moments, in memory, in files of our own, and in other trainers' checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave.errors import ModelError
from unweave.files import replacing

Tensors = dict[str, Tensor]
"""Parameter's name to a tensor of its shape."""

PARTS = ("parameters", "first", "second")


@dataclass(frozen=True)
class State:
    """What a step of AdamW begins with.

    Attributes:
        step: Steps made.
        parameters: The trained parameters, as the optimizer holds them: in float32 or wider.
        first: Means of gradients, not corrected for their start at zero.
        second: Means of squared gradients, likewise.
    """

    step: int
    parameters: Tensors
    first: Tensors
    second: Tensors

    @classmethod
    def at_start(cls, parameters: Mapping[str, Tensor]) -> "State":
        """The state before the first step.

        Args:
            parameters: Name to value; they are copied.

        Returns:
            The state, with both moments zero.
        """
        own = {name: value.detach().clone() for name, value in parameters.items()}
        return cls(0, own, *({name: torch.zeros_like(value) for name, value in own.items()} for _ in range(2)))

    def copy(self) -> "State":
        """The same in memory of its own."""
        parts = ({name: value.detach().clone() for name, value in getattr(self, part).items()} for part in PARTS)
        return State(self.step, *parts)

    def preconditioner(self, *, beta: float, epsilon: float) -> Tensors:
        """AdamW's own, 1 / (sqrt(v / (1 - beta^step)) + epsilon) for each number.

        Args:
            beta: Of the second moments.
            epsilon: Of the optimizer.

        Returns:
            Name to the factor that a step multiplies the mean gradient with, beside the step size.

        Raises:
            ModelError: Before the first step, where there is none.
        """
        if not self.step:
            raise ModelError("AdamW has no second moments before its first step.", remedy="take a later snapshot")
        correction = (1 - beta**self.step) ** 0.5
        return {name: 1 / (value.sqrt() / correction + epsilon) for name, value in self.second.items()}


def write_state(path: Path, state: State) -> None:
    """Write a state, whole or not at all.

    Args:
        path: A `.safetensors` file.
        state: The state; of the one before the first step only the parameters are kept.
    """
    from safetensors.torch import save_file

    kept = PARTS if state.step else PARTS[:1]
    tensors = {
        f"{part}/{name}": value.detach().cpu().contiguous() for part in kept for name, value in getattr(state, part).items()
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"step": str(state.step)})


def read_state(path: Path) -> State:
    """Read what `write_state` wrote.

    Args:
        path: The file.

    Returns:
        The state, on the CPU.

    Raises:
        ModelError: When it is no such file.
    """
    from safetensors import SafetensorError, safe_open

    parts: dict[str, Tensors] = {part: {} for part in PARTS}
    try:
        with safe_open(path, framework="pt") as file:
            step = int((file.metadata() or {})["step"])
            for key in file.keys():  # noqa: SIM118  # it is no mapping
                part, name = key.split("/", 1)
                parts[part][name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"This is no state of an optimizer: {error}.", where=str(path), remedy="train again with `record`"
        ) from error
    return State(step, **parts) if step else State.at_start(parts["parameters"])


def of_optimizer(optimizer: Any, names: list[str], *, step: int) -> State:
    """The state of an AdamW in memory, in tensors that go on changing with it.

    Args:
        optimizer: A `MasterAdamW`, or any `torch.optim.Adam` of one group.
        names: Of its parameters, in order.
        step: Steps made.

    Returns:
        The state; a parameter that never had a gradient has moments of zero.
    """
    own = list(getattr(optimizer, "masters", None) or optimizer.param_groups[0]["params"])
    parts: list[Tensors] = [{}, {}, {}]
    for name, parameter in zip(names, own, strict=True):
        held = optimizer.state.get(parameter, {})
        parts[0][name] = parameter.detach()
        for part, key in zip(parts[1:], ("exp_avg", "exp_avg_sq"), strict=True):
            part[name] = held[key] if key in held else torch.zeros_like(parameter)
    return State(step, *parts)


def of_checkpoint(folder: Path, model: Any) -> State:
    """The state in a `checkpoint-N` folder of a `transformers.Trainer`, read as tensors and numbers alone: no code in it runs.

    Args:
        folder: The checkpoint; its weights are in `model` already.
        model: The model with these weights, its trained parameters requiring gradients.

    Returns:
        The state.

    Raises:
        ModelError: When there is no optimizer in it, it is of something else than Adam, or it does not fit the model.
    """
    path = folder / "optimizer.pt"
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        step = int(max(float(own["step"]) for own in saved["state"].values()))
        order = [index for group in saved["param_groups"] for index in group["params"]]
        held = [saved["state"].get(index) for index in order]
        moments = [(own["exp_avg"], own["exp_avg_sq"]) if own else None for own in held]
    except FileNotFoundError as error:
        raise ModelError(
            "The checkpoint holds no optimizer.", where=str(path), remedy="save checkpoints without `save_only_model`"
        ) from error
    except Exception as error:
        # What torch raises on a file that is no archive, or holds more than tensors, is of many kinds.
        raise ModelError(
            f"The optimizer's state is no Adam's, or holds more than tensors and numbers ({type(error).__name__}).",
            where=str(path),
            remedy="give a checkpoint of AdamW",
        ) from error
    trained = _in_groups(model, [len(group["params"]) for group in saved["param_groups"]], saved["param_groups"])
    masters = saved.get("masters")
    if len(trained) != len(order) or any(
        own is not None and own[0].shape != parameter.shape for own, (_, parameter) in zip(moments, trained, strict=False)
    ):
        raise ModelError(
            f"The optimizer's state is of {len(order)} tensors and the model trains {len(trained)}, or their shapes differ.",
            where=str(path),
            remedy="give the model that the checkpoint is of",
        )
    parts: list[Tensors] = [{}, {}, {}]
    for index, (name, parameter) in enumerate(trained):
        wide = torch.promote_types(parameter.dtype, torch.float32)
        value = parameter.detach().to(wide) if masters is None else masters[index].to(parameter.device)
        own = moments[index]
        parts[0][name] = value.clone()
        for part, number in zip(parts[1:], (0, 1), strict=True):
            part[name] = torch.zeros_like(value) if own is None else own[number].to(value)
    return State(step, *parts)


def _in_groups(model: Any, sizes: list[int], groups: list[dict[str, Any]]) -> list[tuple[str, Tensor]]:
    """The trained parameters in the order of an optimizer: transformers puts those with weight decay first, and biases and norms behind them."""
    trained = [(name, own) for name, own in model.named_parameters() if own.requires_grad]
    if len(groups) < 2:
        return trained
    from transformers.trainer_pt_utils import get_parameter_names

    decayed = {name for name in get_parameter_names(model, [torch.nn.LayerNorm]) if "bias" not in name and "norm" not in name.lower()}
    first = [pair for pair in trained if pair[0] in decayed]
    last = [pair for pair in trained if pair[0] not in decayed]
    return [*first, *last] if [len(first), len(last)] == sizes[:2] else trained
