"""Trace generations to the training rows that they come from."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from unweave import progress
from unweave.attribution.adding import sketcher_for
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.details import rerank_exactly
from unweave.attribution.preconditioning import query_vectors
from unweave.attribution.queries import Query, make_queries
from unweave.attribution.result import TraceResult
from unweave.attribution.retrieval import influence_scores, influences, rank, search
from unweave.attribution.scale import TOP, make_scale, sample_places
from unweave.attribution.scorers import Corpus, baseline_scores, documents_of
from unweave.attribution.through import scores_through_training
from unweave.attribution.trained import chosen_estimator, training_folder
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.models.loading import Loaded
from unweave.models.vocabulary import require_tokens
from unweave.sketch.sketcher import Sketcher
from unweave.store.base import Store
from unweave.store.shards import BLOCK_BYTES
from unweave.store.texts import shared_system

SYSTEM_SHOWN = 60
READ_ROWS = 256


def trace_rows(
    store: Store, loaded: Loaded, queries: Sequence[Row], config: RetrievalConfig | None = None
) -> TraceResult:
    """Trace rows, each a prompt with its answer.

    Args:
        store: The store.
        loaded: The model that it was made with.
        queries: The rows.
        config: How to score.

    Returns:
        The trace, with the scores of all rows.
    """
    made = make_queries(queries, loaded.tokenizer, EncodingConfig(**store.spec.encoding))
    return trace_queries(store, loaded, made, config or RetrievalConfig())


def trace_queries(
    store: Store,
    loaded: Loaded,
    queries: Sequence[Query],
    config: RetrievalConfig,
    *,
    keep_scores: bool = True,
    sketcher: Sketcher | None = None,
) -> TraceResult:
    """Trace answers or parts of them.

    Args:
        store: The store.
        loaded: The model that it was made with.
        queries: The queries.
        config: How to score.
        keep_scores: Keep the scores of all rows, not just of the top ones.
        sketcher: Makes sketches like the store's, where that was made sure of already.

    Returns:
        The trace.

    Raises:
        ConfigError: When options do not go together.
    """
    started = time.monotonic()
    _require_possible(config)
    texts = store.texts()
    _say_other_system(shared_system(texts, where=store.place), store, queries)
    row_ids, details, exact = store.row_ids(), [], []
    sampled: tuple[list[str], torch.Tensor] | None = None
    tops: list[list[float]] | None = None
    folder = None if config.estimator == "store" else training_folder(config.training, store.spec.adapter)
    if config.scorer != "influence":
        if any(query.against is not None for query in queries):
            raise ConfigError(
                f"The scorer '{config.scorer}' compares no two answers.", where="`against`", remedy="leave it out"
            )
        corpus = Corpus(store, row_ids, documents_of(texts, row_ids), config.encoder, config.seed)
        scores = baseline_scores(config.scorer, corpus, [query.row for query in queries])
        rankings = [rank(row_ids, own, top_k=config.top_k) for own in scores]
    elif (name := chosen_estimator(config.estimator, folder)) != "store":
        scores = scores_through_training(name, folder, store, loaded, queries, config, texts)
        rankings = [rank(row_ids, own, top_k=config.top_k) for own in scores]
    else:
        require_tokens(loaded.model, [query.example for query in queries], tokenizer=loaded.tokenizer)
        sketcher = sketcher or sketcher_for(store, loaded)
        vectors = query_vectors(sketcher, store, loaded, queries, config, texts)
        wanted = max(config.top_k, config.rerank)
        options: dict[str, Any] = {"similarity": config.similarity, "learning_rate": config.learning_rate}
        scores = None
        if config.index == "faiss":
            from unweave.attribution.ann import search_index

            rankings = search_index(store, vectors, top_k=wanted, **options)
            sampled, tops = _sampled(store, row_ids, vectors, **options), [[] for _ in queries]
        elif keep_scores:
            row_ids, scores = influence_scores(store, vectors, block_bytes=_block_bytes(config), **options)
            rankings = [rank(row_ids, own, top_k=wanted) for own in scores]
        else:
            places = sample_places(len(row_ids))
            kept: dict[str, Any] = {"top_k": wanted, "places": places, "largest": TOP}
            found = search(store, vectors, block_bytes=_block_bytes(config), **kept, **options)
            rankings, tops = found.rankings, found.largest.tolist()
            sampled = [row_ids[int(place)] for place in places], found.sampled
        if config.rerank:
            reranked = [
                rerank_exactly(sketcher, store, loaded, *pair, config, texts)
                for pair in zip(queries, rankings, strict=True)
            ]
            rankings, details, exact = map(list, zip(*reranked, strict=True))
    scored_ids, own = sampled or (row_ids, torch.as_tensor(scores))
    scales = [
        make_scale(
            len(row_ids), scored_ids, own[place], exact[place] if exact else {}, None if tops is None else tops[place]
        )
        for place in range(len(queries))
    ]
    return TraceResult(
        [query.row for query in queries],
        [query.part for query in queries],
        rankings,
        row_ids,
        scores,
        texts,
        round(time.monotonic() - started, 3),
        details,
        exact,
        scales,
        [query.other for query in queries],
    )


def _sampled(
    store: Store, row_ids: Sequence[str], vectors: torch.Tensor, *, similarity: str, learning_rate: float
) -> tuple[list[str], torch.Tensor]:
    """The ids and scores of the sample of rows, where no scan passes over them."""
    places: list[int] = sample_places(len(row_ids)).tolist()
    ids = [row_ids[place] for place in places]
    found = [
        influences(
            vectors,
            store.read(ids[start : start + READ_ROWS]),
            similarity=similarity,
            learning_rate=learning_rate,
        )
        for start in range(0, len(ids), READ_ROWS)
    ]
    return ids, torch.cat(found, dim=1) if found else torch.empty(len(vectors), 0)


def _require_possible(config: RetrievalConfig) -> None:
    if config.rerank and config.rerank < config.top_k:
        raise ConfigError(
            f"{config.rerank} reranked rows can't give the top {config.top_k}.",
            where="`rerank`",
            remedy=f"give at least {config.top_k}",
        )
    if config.scorer != "influence" and (config.rerank or config.preconditioner != "none" or config.index != "none"):
        raise ConfigError(
            f"The scorer '{config.scorer}' knows no gradients to rerank, precondition or index.",
            where="`scorer`",
            remedy="leave out `rerank`, `preconditioner` and `index`",
        )
    if config.estimator != "store" and (
        config.rerank or config.preconditioner != "none" or config.index != "none" or config.scorer != "influence"
    ):
        raise ConfigError(
            f"The estimator '{config.estimator}' looks at a training, not at the store's sketches.",
            where="`estimator`",
            remedy="leave out `rerank`, `preconditioner`, `index` and `scorer`",
        )
    if config.rerank and config.preconditioner != "none":
        raise ConfigError(
            "A preconditioned query has no factors to rerank from.",
            where="`rerank`, `preconditioner`",
            remedy="give one of them",
        )


def _block_bytes(config: RetrievalConfig) -> int:
    return max(1, min(BLOCK_BYTES, int(config.memory_gib * 2**30 / (2 * torch.get_num_threads()))))


def _say_other_system(shared: str | None, store: Store, queries: Sequence[Query]) -> None:
    """Say where all rows were learned under one system text and queries are asked under another: that alone changes whom they are like."""
    given = store.spec.encoding.get("system_prompt")
    others = {query.row.id for query in queries if (query.row.system_text or given) != shared}
    if shared is not None and others:
        start = shared if len(shared) <= SYSTEM_SHOWN else f"{shared[:SYSTEM_SHOWN]}..."
        progress.say(
            f"all rows of the store stand under the system text {start!r}, and {len(others)} of the queries do not: "
            "give it with `system`, or with the queries"
        )
