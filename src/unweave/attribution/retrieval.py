"""Retrieval: from scores to the top rows on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unweave.attribution.scan import scan
from unweave.store.base import Store
from unweave.store.shards import BLOCK_BYTES


@dataclass(frozen=True)
class RankedRow:
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

    helpful: list[RankedRow]
    harmful: list[RankedRow]


@dataclass(frozen=True, eq=False)
class Searched:
    """What a scan that keeps few of the scores has found of each query.

    Attributes:
        rankings: The top rows on both sides.
        sampled: The scores at the places that were asked for.
        largest: The largest scores, the largest first.
    """

    rankings: list[Ranking]
    sampled: Float[Tensor, "q s"]
    largest: Float[Tensor, "q m"]


def influences(
    queries: Float[Tensor, "q K"], rows: Float[Tensor, "n K"], *, similarity: str, learning_rate: float
) -> Float[Tensor, "q n"]:
    """The influence of rows whose sketches are at hand.

    Args:
        queries: Sketches of the queries.
        rows: Sketches of the rows.
        similarity: `dot`, or `cosine` of the sketches.
        learning_rate: Factor of the influence.

    Returns:
        A score for each query and row.
    """
    if similarity == "cosine":
        queries, rows = (torch.nn.functional.normalize(side, dim=-1) for side in (queries, rows))
    return queries @ rows.T * learning_rate


def influence_scores(
    store: Store,
    queries: Float[Tensor, "q K"],
    *,
    similarity: str = "dot",
    learning_rate: float = 1.0,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[list[str], Float[Tensor, "q n"]]:
    """The influence of every row of a store on every query.

    Args:
        store: The store.
        queries: Sketches of the queries.
        similarity: `dot`, or `cosine` of the sketches.
        learning_rate: Factor of the influence.
        block_bytes: The most bytes of sketches that a thread maps at once.

    Returns:
        The row ids in scan order, and a score for each query and row.
    """
    blocks = list(scan(store, queries, similarity=similarity, block_bytes=block_bytes))
    ids = [row_id for block in blocks for row_id in block.row_ids]
    scores = torch.cat([block.scores for block in blocks], dim=1) if blocks else torch.empty(len(queries), 0)
    return ids, scores * learning_rate


def search(
    store: Store,
    queries: Float[Tensor, "q K"],
    *,
    top_k: int,
    similarity: str = "dot",
    learning_rate: float = 1.0,
    block_bytes: int = BLOCK_BYTES,
    places: Int[Tensor, " s"] | None = None,
    largest: int = 0,
) -> Searched:
    """The top rows of every query, from a scan that keeps no more than these.

    Args:
        store: The store.
        queries: Sketches of the queries.
        top_k: Rows on each side.
        similarity: `dot`, or `cosine` of the sketches.
        learning_rate: Factor of the influence.
        block_bytes: The most bytes of sketches that a thread maps at once.
        places: Places of rows, in scan order and sorted, whose scores are kept besides.
        largest: How many of the largest scores are kept besides.

    Returns:
        The rankings, and what is kept besides.
    """
    best = [Ranking([], []) for _ in queries]
    wanted, kept, done = torch.empty(0, dtype=torch.long) if places is None else places, [], 0
    top = torch.empty(len(queries), 0)
    for block in scan(store, queries, similarity=similarity, block_bytes=block_bytes):
        every = block.scores * learning_rate
        for index, scores in enumerate(every):
            found = rank(block.row_ids, scores, top_k=top_k)
            best[index] = Ranking(
                _merged(best[index].helpful, found.helpful, sign=1, top_k=top_k),
                _merged(best[index].harmful, found.harmful, sign=-1, top_k=top_k),
            )
        here = wanted[(wanted >= done) & (wanted < done + len(block.row_ids))] - done
        kept.append(every[:, here])
        done += len(block.row_ids)
        if largest:
            both = torch.cat([top, every], dim=1)
            top = both.topk(min(largest, both.shape[1]), dim=1).values
    return Searched(best, torch.cat(kept, dim=1) if kept else torch.empty(len(queries), 0), top)


def rank(row_ids: Sequence[str], scores: Float[Tensor, " n"], *, top_k: int) -> Ranking:
    """Sort the rows of one query; equal scores stand in the order of their ids.

    Args:
        row_ids: Ids of the rows.
        scores: Their influence.
        top_k: Rows to list on each side.

    Returns:
        The ranking.
    """
    sides = []
    for sign in (1, -1):
        values = scores * sign
        # All rows that reach the k-th value are sorted, so that ties go by id and not by place.
        edge = values.topk(min(top_k, len(values))).values.min() if len(values) and top_k else torch.inf
        places: list[int] = (values >= edge).nonzero().flatten().tolist()
        sides.append(
            _merged([], [RankedRow(row_ids[place], float(scores[place])) for place in places], sign=sign, top_k=top_k)
        )
    return Ranking(*sides)


def _merged(first: list[RankedRow], second: list[RankedRow], *, sign: int, top_k: int) -> list[RankedRow]:
    return sorted([*first, *second], key=lambda hit: (-sign * hit.influence, hit.row_id))[:top_k]
