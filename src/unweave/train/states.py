"""AdamW's state on the way of a run: parameters and both moments, in memory, in files of our own, and in other trainers' checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave.errors import ModelError
from unweave.replacing import replacing

Tensors = dict[str, Tensor]
"""Parameter's name to a tensor of its shape."""

PARTS = ("parameters", "first", "second")
SNAPSHOT_OPTIONS = ("rate", "beta1", "beta2", "epsilon", "weight_decay")


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


@dataclass(frozen=True)
class Snapshot:
    """A state with what else trajectories need, where a run has no record.

    Attributes:
        state: The state.
        rate: The step size there.
        beta1: Of the mean gradient.
        beta2: Of the mean squared gradient.
        epsilon: Added to the root of the second moment.
        weight_decay: Decoupled, times the step size.
    """

    state: State
    rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @classmethod
    def of_group(cls, state: State, group: Mapping[str, Any]) -> "Snapshot":
        """With the options of an optimizer's group.

        Args:
            state: The state.
            group: Of an Adam or AdamW.

        Returns:
            The snapshot.
        """
        beta1, beta2 = group["betas"]
        options = (group["lr"], beta1, beta2, group["eps"], group.get("weight_decay", 0.0))
        return cls(state, *(float(value) for value in options))


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot, whole or not at all.

    Args:
        path: A `.safetensors` file.
        snapshot: The snapshot.
    """
    write_state(path, snapshot.state, **{name: repr(getattr(snapshot, name)) for name in SNAPSHOT_OPTIONS})


def read_snapshot(path: Path) -> Snapshot:
    """Read what `write_snapshot` wrote.

    Args:
        path: The file.

    Returns:
        The snapshot, on the CPU.

    Raises:
        ModelError: When it is no such file.
    """
    state, described = _read(path)
    return Snapshot(
        state, **{name: float(described[name]) for name in SNAPSHOT_OPTIONS if name in described} or {"rate": 0.0}
    )


def write_state(path: Path, state: State, **described: str) -> None:
    """Write a state, whole or not at all.

    Args:
        path: A `.safetensors` file.
        state: The state; of the one before the first step only the parameters are kept.
        **described: What else its header says.
    """
    from safetensors.torch import save_file

    kept = PARTS if state.step else PARTS[:1]
    tensors = {
        f"{part}/{name}": value.detach().cpu().contiguous()
        for part in kept
        for name, value in getattr(state, part).items()
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"step": str(state.step), **described})


def read_state(path: Path) -> State:
    """Read what `write_state` wrote.

    Args:
        path: The file.

    Returns:
        The state, on the CPU.

    Raises:
        ModelError: When it is no such file.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[State, dict[str, str]]:
    """A state, and what else its file's header says."""
    from safetensors import SafetensorError, safe_open

    parts: dict[str, Tensors] = {part: {} for part in PARTS}
    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
            step = int(described["step"])
            for key in file.keys():  # noqa: SIM118  # it is no mapping
                part, name = key.split("/", 1)
                parts[part][name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"This is no state of an optimizer: {error}.", where=str(path), remedy="train again with `record`"
        ) from error
    return (State(step, **parts) if step else State.at_start(parts["parameters"])), described


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
