"""Scorers that every influence method must beat: BM25, gradient norm, random."""

import random
from collections.abc import Sequence

from unweave.store.base import Store


def bm25_scores(query: str, documents: Sequence[str]) -> list[float]:
    """BM25 in Lucene's form (Kamphuis et al. 2020) of each document for a query, by the bm25s library with its defaults (k1 1.5, b 0.75) and no stop words.

    Lucene's differs from Okapi's (Robertson and Zaragoza 2009) by the logarithm's 1 +, so that a frequent word never counts against a row.

    Args:
        query: Prompt and answer of the query.
        documents: Prompt and answer of each row.

    Returns:
        One score a document.
    """
    import bm25s

    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(list(documents), stopwords=[], show_progress=False), show_progress=False)  # type: ignore[arg-type]
    tokens = bm25s.tokenize([query], stopwords=[], show_progress=False, return_ids=False)
    words: list[str] = list(tokens[0])  # type: ignore[index]
    # A query of single letters has no words, and shares none.
    return [float(score) for score in retriever.get_scores(words)] if words else [0.0] * len(documents)


def gradient_norm_scores(store: Store, row_ids: Sequence[str]) -> list[float]:
    """The norm of each row's gradient: what is found without looking at the query.

    Args:
        store: The store.
        row_ids: Ids of the rows.

    Returns:
        One score a row.
    """
    return store.column("norms", row_ids).tolist()


def random_scores(count: int, *, seed: int = 0) -> list[float]:
    """Uniform random scores.

    Args:
        count: How many.
        seed: The seed.

    Returns:
        One score a row.
    """
    rng = random.Random(seed)
    return [rng.random() for _ in range(count)]
