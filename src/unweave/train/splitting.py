"""Steps that are made in parts where memory runs out: gradients add up to those of the whole step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Step = list[Any]


@dataclass(frozen=True)
class Split:
    """How a step is cut.

    Attributes:
        rows: How many rows a step has, and so how many parts at most.
        part: A part of a step: its rows, which part, and of how many. Gives its batch, or `None` where it has no rows, and what its loss counts in the step's:
            the parts' losses, each times that, add up to the loss of the step.
    """

    rows: Callable[[Step], int]
    part: Callable[[Step, int, int], tuple[Any, float]]


def split_by_tokens(collate: Callable[[Step], Any], size: Callable[[Any], float]) -> Split:
    """How a step whose loss is a mean over tokens is cut.

    Args:
        collate: Makes a batch of rows.
        size: The labelled tokens of a row.

    Returns:
        The cut: every so many rows, each part with its share of the step's labelled tokens.
    """

    def part(step: Step, index: int, parts: int) -> tuple[Any, float]:
        own = step[index::parts]
        return (collate(own), sum(map(size, own)) / sum(map(size, step))) if own else (None, 0.0)

    return Split(len, part)


def random_state() -> list[torch.Tensor]:
    """The state of torch's generators, so that a step which is made again drops out the same.

    Returns:
        That of the CPU, and of each GPU that was used.
    """
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if used else [])]


def restore_random_state(state: list[torch.Tensor]) -> None:
    """Put torch's generators back.

    Args:
        state: From `random_state`.
    """
    torch.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state_all(state[1:])
