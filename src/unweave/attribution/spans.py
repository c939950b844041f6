"""Parts of one answer: how concentrated the influence on each is, and how one row's tokens meet the answer's."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.attribution.config import RetrievalConfig
from unweave.attribution.details import TokenDetail, rerank_exactly
from unweave.attribution.index import GradientIndex
from unweave.attribution.queries import Query, queries_of_spans
from unweave.attribution.retrieval import RankedRow, Ranking, influence_scores
from unweave.data.rows import Row

BEST = 10
"""Rows whose share of the influence is asked for."""


def concentration(scores: Float[Tensor, "q n"], *, best: int = BEST) -> Float[Tensor, " q"]:
    """The share of all influence above the median that the best rows carry.

    Args:
        scores: The influence of every row, a line a query.
        best: How many rows are the best.

    Returns:
        From 0 to 1; about 2 best / n where all rows matter alike, 1 where no other row matters, 0 where there is no influence above the median.
    """
    above = (scores - scores.median(dim=1, keepdim=True).values).clamp(min=0)
    total = above.sum(dim=1)
    top = above.topk(min(best, above.shape[1]), dim=1).values.sum(dim=1)
    return torch.where(total > 0, top / total, torch.zeros_like(total))


def span_concentration(
    index: GradientIndex, row: Row, spans: Sequence[tuple[int, int]], *, best: int = BEST
) -> list[float | None]:
    """How concentrated the influence on each part of an answer is: whether it comes from a few rows, or from all a little.

    Args:
        index: The index.
        row: Prompt and answer.
        spans: Characters of the answer, from one place up to another.
        best: How many rows are the best.

    Returns:
        The share of the influence above the median that the best rows carry, from 0 to 1; `None` where no token stands.
    """
    queries = queries_of_spans(row, index.model.tokenizer, index.encoding, spans)
    examples = [query.example for query in queries if query is not None]
    if not examples or not len(index):
        return [None] * len(spans)
    _, scores = influence_scores(index.store, index.sketcher.sketch_all(examples).sketches)
    found = iter(concentration(scores, best=best).tolist())
    return [None if query is None else next(found) for query in queries]


def row_detail(index: GradientIndex, query: Query, row_id: str) -> TokenDetail:
    """What the tokens of a query and of one row contribute to its influence, exactly.

    Args:
        index: The index.
        query: The query.
        row_id: The row.

    Returns:
        The matrix of positions, and its sums.
    """
    config = RetrievalConfig(top_k=1, rerank=1)
    alone = Ranking([RankedRow(row_id, 0.0)], [])
    _, details, _ = rerank_exactly(index.sketcher, index.store, index.model, query, alone, config, index.store.texts())
    return details[row_id]
