"""Scorers that know nothing of gradients' directions, as peers of influence: what every influence method must beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.attribution.baselines import bm25_scores, gradient_norm_scores, random_scores
from unweave.attribution.registry import INFLUENCE, SCORERS
from unweave.data.rows import Row
from unweave.registry import entry
from unweave.store.base import Store


@dataclass(frozen=True)
class Corpus:
    """What a scorer may look at.

    Attributes:
        store: The store, for gradient norms.
        row_ids: The rows, in the order of the scores.
        documents: Prompt and answer of each.
        encoder: Name of the sentence encoder.
        seed: For random scores.
    """

    store: Store
    row_ids: Sequence[str]
    documents: Sequence[str]
    encoder: str
    seed: int


Scorer = Callable[[Corpus, Sequence[str]], list[list[float]]]
"""Scores of all rows for each query; larger is more alike."""


def bm25(corpus: Corpus, queries: Sequence[str]) -> list[list[float]]:
    """Words in common.

    Args:
        corpus: The rows.
        queries: Prompt and answer of each.

    Returns:
        BM25 in Lucene's form.
    """
    return [bm25_scores(query, corpus.documents) for query in queries]


def embedding(corpus: Corpus, queries: Sequence[str]) -> list[list[float]]:
    """Meaning in common.

    Args:
        corpus: The rows.
        queries: Prompt and answer of each.

    Returns:
        Cosines of sentence embeddings.
    """
    from unweave.models.encoder import load_encoder

    encoder = load_encoder(corpus.encoder)
    return (encoder.encode(queries) @ encoder.encode(corpus.documents).T).tolist()


def gradnorm(corpus: Corpus, queries: Sequence[str]) -> list[list[float]]:
    """How much a row moves the model, whatever the query.

    Args:
        corpus: The rows.
        queries: Prompt and answer of each.

    Returns:
        Norms of the rows' gradients.
    """
    norms = gradient_norm_scores(corpus.store, corpus.row_ids)
    return [norms for _ in queries]


def random(corpus: Corpus, queries: Sequence[str]) -> list[list[float]]:
    """Chance.

    Args:
        corpus: The rows.
        queries: Prompt and answer of each.

    Returns:
        Random numbers.
    """
    return [random_scores(len(corpus.row_ids), seed=corpus.seed + number) for number in range(len(queries))]


def baseline_scores(name: str, corpus: Corpus, queries: Sequence[Row]) -> Float[Tensor, "q n"]:
    """Score all rows by a baseline.

    Args:
        name: Its name in `SCORERS`.
        corpus: The rows.
        queries: The queries.

    Returns:
        A score for each query and row; larger is more alike.

    Raises:
        ConfigError: When there is none of that name.
    """
    texts = [f"{query.user_text}\n{query.completion}" for query in queries]
    return torch.tensor(entry(SCORERS, name, option="scorer", others=(INFLUENCE,))(corpus, texts), dtype=torch.float32)


def documents_of(texts: dict[str, dict[str, Any]], row_ids: Sequence[str]) -> list[str]:
    """Prompt and answer of rows, as baselines read them.

    Args:
        texts: Row id to its text.
        row_ids: The rows.

    Returns:
        One document a row.
    """
    return [f"{texts[row_id]['prompt']}\n{texts[row_id]['completion']}" for row_id in row_ids]
