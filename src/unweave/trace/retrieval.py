"""Retrieval: one scan of the store for all queries, then the top rows on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.store.numbers import decode_numbers
from unweave.store.store import GradientStore

BLOCK_ROWS = 256


@dataclass(frozen=True)
class Hit:
    """A training row with its influence on a query.

    Attributes:
        row_id: The row.
        influence: lr <g(query), g(row)>: positive when a step on the row lowers the query's loss.
    """

    row_id: str
    influence: float


@dataclass(frozen=True)
class Ranking:
    """The rows that matter most to one query.

    Attributes:
        helpful: Most positive first.
        harmful: Most negative first.
    """

    helpful: list[Hit]
    harmful: list[Hit]


def influence_scores(
    store: GradientStore, queries: Float[Tensor, "q K"], *, similarity: str = "dot", learning_rate: float = 1.0
) -> tuple[list[str], Float[Tensor, "q n"]]:
    """The influence of every row of a store on every query, from one blockwise scan with float32 accumulation.

    Args:
        store: The store.
        queries: Sketches of the queries.
        similarity: `dot`, or `cosine` of the sketches.
        learning_rate: Factor of the influence.

    Returns:
        The row ids in scan order, and a score for each query and row.
    """
    queries = queries.float()
    if similarity == "cosine":
        queries = torch.nn.functional.normalize(queries, dim=1)
    ids: list[str] = []
    parts: list[Tensor] = []
    for block in store.scan(block_rows=BLOCK_ROWS):
        rows = decode_numbers(block.sketches, block.scales)
        if similarity == "cosine":
            rows = torch.nn.functional.normalize(rows, dim=1)
        ids += block.row_ids
        parts.append(queries @ rows.T)
    scores = torch.cat(parts, dim=1) if parts else torch.empty(len(queries), 0)
    return ids, scores * learning_rate


def rank(row_ids: Sequence[str], scores: Float[Tensor, " n"], *, top_k: int) -> Ranking:
    """Sort the rows of one query; equal scores stand in the order of their ids.

    Args:
        row_ids: Ids of the rows.
        scores: Their influence.
        top_k: Rows to list on each side.

    Returns:
        The ranking.
    """
    hits = [Hit(row_id, score) for row_id, score in zip(row_ids, scores.tolist(), strict=True)]
    helpful = sorted(hits, key=lambda hit: (-hit.influence, hit.row_id))[:top_k]
    harmful = sorted(hits, key=lambda hit: (hit.influence, hit.row_id))[:top_k]
    return Ranking(helpful, harmful)
