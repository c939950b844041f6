"""What an unlearning step sees: sampled rows, their sequences, and which sequence is what."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unweave.data.batches import BLOCK_OVERHEAD, PASS_OVERHEAD, Batch, collate, join, length_groups
from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.unlearning.config import Sampling
from unweave.unlearning.methods.base import LEAST_STEPS, Described
from unweave.unlearning.roles import Role
from unweave.unlearning.rows import ForgetRow


@dataclass(frozen=True)
class StepBatch:
    """The sequences of a step.

    Attributes:
        groups: Their tokens, in batches of like length, or all in one.
        examples: The same, one a sequence, in the order of the groups.
        roles: The `Role` of each sequence, counted through all groups.
        weights: The weight of the row that each sequence belongs to.
        rows: Rows sampled; a forget row with a clean answer has two sequences.
        progress: Share of the run that is behind this step, in [0, 1).
        whole: Of a part of a step: how many sequences of each role the whole step has. `rows` then counts those of the whole step, too.
        share: Share of the step's rows that are here.
    """

    groups: tuple[Batch, ...]
    examples: tuple[Example, ...]
    roles: Int[Tensor, " S"]
    weights: Float[Tensor, " S"]
    rows: int
    progress: float
    whole: Mapping[int, int] | None = None
    share: float = 1.0

    @property
    def row_ids(self) -> list[str]:
        """The row that each sequence belongs to, counted through all groups."""
        return [row_id for group in self.groups for row_id in group.row_ids]

    def mask(self, role: Role) -> Float[Tensor, " S"]:
        """1 where a sequence has a role.

        Args:
            role: The role.

        Returns:
            A mask in float32.
        """
        return (self.roles == role).float()

    def count(self, role: Role) -> Float[Tensor, ""]:
        """How many sequences of a role the step has; of a part of a step, the whole step. So the losses of its parts sum to that of the step.

        Args:
            role: The role.

        Returns:
            Their number, in float32.
        """
        if self.whole is None:
            return self.mask(role).sum()
        return torch.tensor(float(self.whole.get(int(role), 0)), device=self.roles.device)

    def to(self, device: torch.device | str) -> "StepBatch":
        """The step on a device.

        Args:
            device: Where to.

        Returns:
            A step whose tensors are there.
        """
        groups = tuple(batch.to(device) for batch in self.groups)
        return replace(self, groups=groups, roles=self.roles.to(device), weights=self.weights.to(device))


@dataclass(frozen=True)
class SampledStep:
    """A planned step.

    Attributes:
        rows: The sampled rows.
        progress: Share of the run behind it.
    """

    rows: tuple[ForgetRow, ...]
    progress: float

    def part(self, index: int, parts: int) -> "SampledStep":
        """Every so many rows of the step.

        Args:
            index: Which part, from 0.
            parts: How many there are.

        Returns:
            The part; it has no rows where there are fewer rows than parts.
        """
        return replace(self, rows=self.rows[index::parts])

    def sequences(self, *, with_clean: bool) -> list[tuple[Example, Role, float]]:
        """What its rows make the model read.

        Args:
            with_clean: Whether the method uses clean answers of forget rows.

        Returns:
            Tokens, role and weight of each sequence.
        """
        found: list[tuple[Example, Role, float]] = []
        for row in self.rows:
            found.append((row.example, Role.UNWANTED if row.is_forget else Role.RETAIN, row.weight))
            if row.is_forget and with_clean and row.clean is not None:
                found.append((row.clean, Role.CLEAN, row.weight))
        return found


def plan_steps(
    forget: Sequence[ForgetRow],
    retain: Sequence[ForgetRow],
    *,
    retain_ratio: float,
    batch_size: int,
    epochs: float | None,
    seed: int,
    sampling: Sampling = "cycle",
    least: int = LEAST_STEPS,
    steps: int | None = None,
) -> list[SampledStep]:
    """Sample the rows of all steps, `retain_ratio` retain rows for each forget row.

    In cycles each set is dealt out in a new random order until none of its rows is left, and then again: after as many samples as a set has rows, each of
    them has come once. RapidUn (arXiv 2512.04457) samples with replacement: of n rows and n samples, n/e never come on average.

    Args:
        forget: Forget rows.
        retain: Retain rows; may be empty when the ratio is 0.
        retain_ratio: Retain rows for each forget row.
        batch_size: Rows a step.
        epochs: An epoch samples as many rows as both sets have, or as the one that is sampled from. `None`: one, or as many as make `least` steps.
        seed: Of the sampling.
        sampling: `cycle`, or `replacement`.
        least: Steps of a run without a number of epochs.
        steps: How many steps, whatever the epochs.

    Returns:
        The steps. The ratio holds over the whole run and, up to one row, in each step.

    Raises:
        ConfigError: When a number is out of range.
    """
    if batch_size < 1 or (epochs is not None and epochs <= 0) or retain_ratio < 0:
        raise ConfigError(
            f"{epochs} epochs of batches of {batch_size} rows with {retain_ratio} retain rows a forget row can't be sampled.",
            where="`epochs`, `batch_size`, `retain_ratio`",
            remedy="give numbers above 0",
        )
    rng = random.Random(seed)
    share = _forget_share(len(retain), retain_ratio)
    size = rows_of_epoch(len(forget), len(retain), retain_ratio)
    total = max(1, round(epochs * size)) if epochs is not None else max(size, least * batch_size)
    total = total if steps is None else steps * batch_size
    # Error diffusion spreads the forget rows evenly; the phase is random, so that batches do not all begin alike.
    phase = rng.random()
    flags = [int((index + 1) * share + phase) > int(index * share + phase) for index in range(total)]
    deal = _cycles if sampling == "cycle" else _replaced
    forgotten, kept = deal(forget, rng), deal(retain, rng)
    sampled = [next(forgotten) if flag else next(kept) for flag in flags]
    starts = range(0, total, batch_size)
    return [SampledStep(tuple(sampled[start : start + batch_size]), start / total) for start in starts]


def rows_of_epoch(forget: int, retain: int, retain_ratio: float) -> int:
    """How many rows an epoch samples: as many as both sets have, or as the one that is sampled from.

    Args:
        forget: Forget rows.
        retain: Retain rows.
        retain_ratio: Retain rows for each forget row.

    Returns:
        Their number.
    """
    share = _forget_share(retain, retain_ratio)
    return (forget if share else 0) + (retain if share < 1 else 0)


def epochs_of(
    steps: int, method: Described, retain_ratio: float, *, batch_size: int, forget: int, retain: int
) -> float:
    """The epochs in which a run makes so many steps.

    Args:
        steps: Steps.
        method: For which rows are sampled.
        retain_ratio: Retain rows for each forget row.
        batch_size: Rows a step.
        forget: Forget rows.
        retain: Retain rows.

    Returns:
        The epochs, a fraction.
    """
    return steps * batch_size / rows_of_epoch(forget, retain if method.samples_retain else 0, retain_ratio)


def _forget_share(retain: int, retain_ratio: float) -> float:
    return 1.0 / (1.0 + retain_ratio) if retain else 1.0


def never_sampled(steps: Sequence[SampledStep], rows: Sequence[ForgetRow]) -> int:
    """How many rows no step has seen.

    Args:
        steps: The steps that were made.
        rows: The rows that they were sampled from.

    Returns:
        Their number.
    """
    seen = {row.example.row_id for step in steps for row in step.rows}
    return sum(row.example.row_id not in seen for row in rows)


def _cycles(rows: Sequence[ForgetRow], rng: random.Random) -> Iterator[ForgetRow]:
    while True:
        yield from rng.sample(rows, len(rows))


def _replaced(rows: Sequence[ForgetRow], rng: random.Random) -> Iterator[ForgetRow]:
    while True:
        yield rng.choice(rows)


def collate_part(sampled: SampledStep, index: int, parts: int, *, pad_token_id: int, with_clean: bool, joined: bool = False) -> StepBatch:  # fmt: skip
    """Make the sequences of a part of a planned step.

    Args:
        sampled: The whole step.
        index: Which part, from 0.
        parts: How many there are; none is empty.
        pad_token_id: What to pad with.
        with_clean: Whether the method uses clean answers of forget rows.
        joined: As in `collate_step`.

    Returns:
        The part's batch, with the counts of the whole step.
    """
    own = sampled.part(index, parts)
    batch = collate_step(own, pad_token_id=pad_token_id, with_clean=with_clean, joined=joined)
    whole = Counter(int(role) for _, role, _ in sampled.sequences(with_clean=with_clean))
    return replace(batch, rows=len(sampled.rows), whole=whole, share=len(own.rows) / len(sampled.rows))


def collate_step(sampled: SampledStep, *, pad_token_id: int, with_clean: bool, joined: bool = False) -> StepBatch:
    """Make the sequences of a planned step.

    Args:
        sampled: The step.
        pad_token_id: What to pad with.
        with_clean: Whether the method uses clean answers of forget rows.
        joined: Put the groups into one batch, for a model that can run it (`can_join`).

    Returns:
        The step's batch.
    """
    sequences = sampled.sequences(with_clean=with_clean)
    # Unwanted answers are often longer than right ones: one padded batch of both would be half padding.
    overhead = BLOCK_OVERHEAD if joined else PASS_OVERHEAD
    indices = length_groups([len(example) for example, _, _ in sequences], overhead=overhead)
    groups = tuple(collate([sequences[index][0] for index in group], pad_token_id=pad_token_id) for group in indices)
    order = [index for group in indices for index in group]
    roles = torch.tensor([int(sequences[index][1]) for index in order])
    weights = torch.tensor([sequences[index][2] for index in order])
    examples = tuple(sequences[index][0] for index in order)
    return StepBatch(
        (join(groups),) if joined else groups, examples, roles, weights, len(sampled.rows), sampled.progress
    )
