"""Exact scores of the best candidates, and which tokens carry them."""

from dataclasses import dataclass
from typing import Any

import torch

from unweave.attribution.config import RetrievalConfig
from unweave.attribution.exact import Exact, PreparedQuery, TensorNorms, exact_influence, one_token_each, prepare_query
from unweave.attribution.queries import Query
from unweave.attribution.retrieval import Ranking, rank
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.models.loading import Loaded
from unweave.sketch.sketcher import Sketcher
from unweave.store.base import Store
from unweave.store.texts import stored_rows


@dataclass(frozen=True)
class TokenDetail:
    """What tokens contribute to the influence of one row on one query; every list sums to the influence, those of positions together with `unplaced`.

    Attributes:
        query_tokens: The query's tokens, prompt and answer; of a contrast with those of the other answer behind them.
        row_tokens: The row's tokens, prompt and answer.
        query_answer: Where what is traced of the query begins.
        row_answer: Where the row's first answer begins.
        matrix: Position of the query against position of the row.
        query_positions: Share of each position of the query: sums over the matrix's columns.
        row_positions: Share of each position of the row.
        row_loss_tokens: Share of the loss of each token of the row; 0 where there is no loss, as on its prompt.
        unplaced: Share of parameters whose gradients are no sums over positions, such as adapters of experts.
    """

    query_tokens: list[str]
    row_tokens: list[str]
    query_answer: int
    row_answer: int
    matrix: list[list[float]]
    query_positions: list[float]
    row_positions: list[float]
    row_loss_tokens: list[float]
    unplaced: float = 0.0


def rerank_exactly(
    sketcher: Sketcher,
    store: Store,
    loaded: Loaded,
    query: Query,
    candidates: Ranking,
    config: RetrievalConfig,
    texts: dict[str, dict[str, Any]],
) -> tuple[Ranking, dict[str, TokenDetail], dict[str, float]]:
    """Score candidates exactly and sort them anew; look into the tokens of those that remain.

    Args:
        sketcher: The model, and how the store was made.
        store: The store, for the rows' texts.
        loaded: The model.
        query: The query.
        candidates: What the scan found.
        config: Top rows, similarity, learning rate.
        texts: Row id to its text.

    Returns:
        The new ranking, row id to the detail of each row in it, and row id to the exact score of each candidate.
    """
    ids = list(dict.fromkeys(hit.row_id for hit in [*candidates.helpful, *candidates.harmful]))
    rows = stored_rows(texts, ids, where=store.place)
    examples = encode_rows(rows, loaded.tokenizer, EncodingConfig(**store.spec.encoding)).examples
    prepared = prepare_query(sketcher, query.example, against=query.against)
    exact = exact_influence(sketcher, prepared, examples, similarity=config.similarity)
    scores = exact.scores.float() * config.learning_rate
    ranking = rank(ids, scores, top_k=config.top_k)
    shown = dict.fromkeys(hit.row_id for hit in [*ranking.helpful, *ranking.harmful])
    places = [ids.index(row_id) for row_id in shown]
    losses = _loss_shares(sketcher, prepared, examples, exact, places, config)

    def words(tokens: tuple[int, ...]) -> list[str]:
        return [loaded.tokenizer.decode([token]) for token in tokens]

    details = {}
    for place, shares in zip(places, losses, strict=True):
        matrix, example = exact.matrices[place] * config.learning_rate, examples[place]
        details[ids[place]] = TokenDetail(
            words(prepared.input_ids),
            words(example.input_ids),
            query.example.label_positions[0],
            example.label_positions[0],
            matrix.tolist(),
            matrix.sum(dim=1).tolist(),
            matrix.sum(dim=0).tolist(),
            _spread(shares, example),
            float(exact.unplaced[place]) * config.learning_rate,
        )
    return ranking, details, dict(zip(ids, scores.tolist(), strict=True))


def _spread(shares: list[float], example: Example) -> list[float]:
    """What each labelled token carries, as a list over all tokens."""
    spread = [0.0] * len(example)
    for place, share in zip(example.label_positions, shares, strict=True):
        spread[place] = share
    return spread


def _loss_shares(
    sketcher: Sketcher,
    query: PreparedQuery,
    examples: list[Example],
    exact: Exact,
    places: list[int],
    config: RetrievalConfig,
) -> list[list[float]]:
    """The share of each answer token's own loss, for the rows at `places`: one copy of a row for each of its tokens."""
    copies, owners = [], []
    for place in places:
        own = one_token_each(examples[place])
        copies += own
        owners += [place] * len(own)
    if not copies:
        return []
    norms = TensorNorms({name: norm[owners] for name, norm in exact.norms.by_tensor.items()}, exact.norms.whole[owners])
    scores = exact_influence(sketcher, query, copies, similarity=config.similarity, norms=norms).scores
    owner = torch.tensor(owners)
    shares = []
    for place in places:
        own = scores[owner == place] * config.learning_rate
        shares.append((own / len(own) if sketcher.config.reduction == "mean" else own).tolist())
    return shares
