"""What a run will take, from its files alone: nothing is written, and no weights are loaded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unweave.data.dates import dated
from unweave.data.encoding import Example, encode_rows
from unweave.data.reading import Rows
from unweave.models.adapters import WEIGHTS
from unweave.models.loading import ModelConfig, place_of, tokenizer_of
from unweave.models.quiet import quiet_transformers
from unweave.train.config import LoraOptions

TESTS = ("test_seen", "test_ood", "test_clean")
"""The splits of a case that models answer."""

UNLEARNING = 1.4
"""Training steps that an unlearning step takes, of as many rows: more tokens, and a model before to compare with."""


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        rows: Kind to number of rows.
        tokens: That will be read, padding apart; `None` where they are not counted.
        steps: Optimizer steps.
        work: What else there is to do, in numbers: answers to generate, models to load, runs to make.
        parameters: Of the model, and of what is trained.
        bytes: What will be on the disk.
        memory: What will be in memory, the libraries apart: what is there all the time, what each pass adds while it runs, and the peak.
        seconds: Estimated time; `None` where it shows only when the run has begun.
        notes: What else is known, and what will go wrong.
    """

    rows: dict[str, int]
    tokens: int | None = None
    steps: int | None = None
    work: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> dict[str, str]:
        """The plan in words.

        Returns:
            Name to text.
        """
        found = {"rows": _counts(self.rows)}
        if self.tokens is not None:
            found["tokens"] = f"{self.tokens:,}"
        if self.steps is not None:
            found["steps"] = f"{self.steps:,}"
        if self.work:
            found["work"] = _counts(self.work)
        if self.parameters:
            found["parameters"] = _counts(self.parameters)
        if self.bytes:
            found["disk"] = ", ".join(f"{name} {_size(size)}" for name, size in self.bytes.items())
        if self.memory:
            found["memory"] = ", ".join(f"{name} {_size(size)}" for name, size in self.memory.items())
        found["time"] = (
            f"about {self.seconds / 60:.1f} min" if self.seconds is not None else "shows when the run has begun"
        )
        return found | {f"note {number}": text for number, text in enumerate(self.notes, start=1)}


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def encoded(config: Any, *sources: Rows) -> tuple[list[list[Example]], tuple[str, ...]]:
    """The tokens of rows, as the model of a run reads them.

    Args:
        config: The run's, with a model and an encoding.
        *sources: The rows.

    Returns:
        The examples of each source, and notes on rows that were dropped or cut.
    """
    tokenizer = tokenizer_of(config)
    config = dated(config, tokenizer, config.adapter, config.model)
    made = [encode_rows(rows, tokenizer, config) for rows in sources]
    problems = [problem for rows, own in zip(sources, made, strict=True) for problem in (*rows.problems, *own.problems)]
    actions = dict.fromkeys(problem.action for problem in problems)
    notes = tuple(f"{sum(one.action == action for one in problems)} row(s) {action}" for action in actions)
    return [own.examples for own in made], notes


def parameters_of(config: ModelConfig, lora: LoraOptions | None = None, *, own: bool = False) -> dict[str, int]:
    """How many parameters a model has and how many are trained, without its weights.

    Args:
        config: The model.
        lora: A fresh adapter that is trained on it; by default all parameters are trained.
        own: Whether the model's own adapter is trained, where it has one.

    Returns:
        `model` and `trained`; empty for a model whose description is in its weights, as of a GGUF file.
    """
    place = place_of(config)
    if Path(place.base).is_file():
        return {}
    import torch

    from unweave.models.pretrained import without_weights
    from unweave.train.adapters import add_lora

    with quiet_transformers(), torch.device("meta"):
        model = without_weights(place.base, revision=place.revision)
        count = sum(parameter.numel() for parameter in model.parameters())
        if own and place.adapter is not None and (place.adapter.folder / WEIGHTS).is_file():
            return {"model": count, "trained": _of_file(place.adapter.folder / WEIGHTS)}
        trained = add_lora(model, replace(lora, lora_dropout=0.0), seed=0) if lora is not None else model
        return {"model": count, "trained": sum(one.numel() for one in trained.parameters() if one.requires_grad)}


def _of_file(path: Path) -> int:
    """How many numbers a file of tensors holds, by its header."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118  # it is no mapping


def total(examples: Sequence[Example]) -> int:
    """Tokens of examples.

    Args:
        examples: The examples.

    Returns:
        Their number.
    """
    return sum(map(len, examples))
