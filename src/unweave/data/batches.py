"""Batches by token budget: examples of like length together, padded on the right, packed end to end, or padded batches joined.

A batch is what the model gets plus `segments`, which says for every token which example it belongs to:

    input_ids       [B, T]   padded: one example a row; packed: B = 1 and T = the sum of the lengths; joined: B = 1, padding included
    attention_mask  [B, T]   1 on tokens, 0 on padding; absent when packed or joined
    position_ids    [B, T]   each example counts from 0
    labels          [B, T]   the token itself on completions, -100 elsewhere; a label stands at its own token, not at the one before
    segments        [B, T]   index of the example in the batch, -1 on padding
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from unweave.data.encoding import Example

IGNORE = -100


@dataclass(frozen=True)
class Batch:
    """Several examples as tensors; the module says which is what.

    Attributes:
        row_ids: The ids of the examples, in order.
        input_ids: Tokens.
        labels: Tokens on completions, `IGNORE` elsewhere.
        segments: Which example a token belongs to.
        position_ids: Position within the example.
        attention_mask: Where tokens are; `None` when packed or joined.
        blocks: Of joined batches, rows and width of each.
    """

    row_ids: tuple[str, ...]
    input_ids: Int[Tensor, "B T"]
    labels: Int[Tensor, "B T"]
    segments: Int[Tensor, "B T"]
    position_ids: Int[Tensor, "B T"]
    attention_mask: Int[Tensor, "B T"] | None
    blocks: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.row_ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device.

        Args:
            device: Where to.

        Returns:
            A batch whose tensors are there.
        """
        mask = None if self.attention_mask is None else self.attention_mask.to(device)
        return Batch(
            row_ids=self.row_ids,
            input_ids=self.input_ids.to(device),
            labels=self.labels.to(device),
            segments=self.segments.to(device),
            position_ids=self.position_ids.to(device),
            attention_mask=mask,
            blocks=self.blocks,
        )

    def model_inputs(self) -> dict[str, Tensor]:
        """Keyword arguments for a Hugging Face causal model.

        Returns:
            `input_ids`, and `attention_mask` when padded or `position_ids` when packed or joined.
        """
        if self.attention_mask is None:
            return {"input_ids": self.input_ids, "position_ids": self.position_ids}
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}


PASS_OVERHEAD = 300
"""What another pass through a small model costs beside its tokens, in tokens."""

BLOCK_OVERHEAD = 48
"""The same of another block in one pass."""


def plan_batches(lengths: Sequence[int], *, token_budget: int, max_rows: int | None = None) -> list[list[int]]:
    """Group examples so that no padded batch exceeds a number of tokens.

    Args:
        lengths: Tokens of each example.
        token_budget: The most tokens in a batch, padding included; a longer example gets a batch of its own.
        max_rows: The most examples in a batch.

    Returns:
        Lists of indices, longest examples first (so that a machine that is too small fails at once). Every index stands in
        exactly one list, and the plan depends on nothing but the arguments.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    for index in order:
        batch = batches[-1] if batches else None
        if batch is not None and (len(batch) + 1) * lengths[batch[0]] <= token_budget and len(batch) != max_rows:
            batch.append(index)
        else:
            batches.append([index])
    return batches


def length_groups(lengths: Sequence[int], *, overhead: int = PASS_OVERHEAD) -> list[list[int]]:
    """Cut a step's examples into groups so that padding and the cost of one more group are least, together.

    Args:
        lengths: Tokens of each example.
        overhead: What a group costs beside its tokens, in tokens: that of a pass of its own, or of a block in a common one.

    Returns:
        Lists of indices, shortest examples first; every index stands in exactly one list. No other cut into groups has a smaller sum of padded tokens and
        overheads.
    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    # Groups of a best cut are neighbours in length: the best cut of the first so many, by where its last group begins.
    costs, begins = [0], [0]
    for end, index in enumerate(order, start=1):
        costs_from = [costs[start] + (end - start) * lengths[index] + overhead for start in range(end)]
        begins.append(min(range(end), key=costs_from.__getitem__))
        costs.append(costs_from[begins[-1]])
    groups: list[list[int]] = []
    end = len(order)
    while end:
        groups.insert(0, order[begins[end] : end])
        end = begins[end]
    return groups


def collate(examples: Sequence[Example], *, pad_token_id: int) -> Batch:
    """Pad examples on the right.

    Args:
        examples: The examples.
        pad_token_id: What to pad with; it may equal EOS, since masks go by position and never by id.

    Returns:
        A batch of one example a row.
    """
    width = max(len(example) for example in examples)
    shape = (len(examples), width)
    input_ids = torch.full(shape, pad_token_id, dtype=torch.long)
    labels = torch.full(shape, IGNORE, dtype=torch.long)
    segments = torch.full(shape, -1, dtype=torch.long)
    for index, example in enumerate(examples):
        ids = torch.tensor(example.input_ids, dtype=torch.long)
        input_ids[index, : len(ids)] = ids
        positions = list(example.label_positions)
        labels[index, positions] = ids[positions]
        segments[index, : len(ids)] = index
    position_ids = torch.arange(width).expand(shape)
    row_ids = tuple(example.row_id for example in examples)
    return Batch(row_ids, input_ids, labels, segments, position_ids, (segments >= 0).long())


def pack(examples: Sequence[Example]) -> Batch:
    """Put examples end to end in one sequence, without padding.

    The model keeps them apart by `position_ids`, which restart at 0; transformers then builds a block-diagonal mask.

    Args:
        examples: The examples.

    Returns:
        A batch of one row.
    """
    ids, labels, segments, positions = [], [], [], []
    for index, example in enumerate(examples):
        ids += example.input_ids
        chosen = set(example.label_positions)
        labels += [token if place in chosen else IGNORE for place, token in enumerate(example.input_ids)]
        segments += [index] * len(example)
        positions += range(len(example))
    return Batch(
        row_ids=tuple(example.row_id for example in examples),
        input_ids=torch.tensor([ids]),
        labels=torch.tensor([labels]),
        segments=torch.tensor([segments]),
        position_ids=torch.tensor([positions]),
        attention_mask=None,
    )


def join(batches: Sequence[Batch]) -> Batch:
    """Put padded batches end to end in one sequence, row after row, padding and all; what runs it must keep their rows apart (`models/blocks.py`).

    Args:
        batches: Padded batches.

    Returns:
        A batch of one row.
    """
    starts = itertools.accumulate((len(batch) for batch in batches), initial=0)
    segments = [
        torch.where(batch.segments < 0, -1, batch.segments + start)
        for batch, start in zip(batches, starts, strict=False)
    ]

    def flat(parts: Iterable[Tensor]) -> Tensor:
        return torch.cat([part.flatten() for part in parts]).unsqueeze(0)

    return Batch(
        row_ids=tuple(row_id for batch in batches for row_id in batch.row_ids),
        input_ids=flat(batch.input_ids for batch in batches),
        labels=flat(batch.labels for batch in batches),
        segments=flat(segments),
        position_ids=flat(batch.position_ids for batch in batches),
        attention_mask=None,
        blocks=tuple((batch.input_ids.shape[0], batch.input_ids.shape[1]) for batch in batches),
    )
