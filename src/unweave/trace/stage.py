"""Trace generations to the training rows that they come from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.data.encoding import EncodingConfig
from unweave.data.questions import read_questions
from unweave.data.remembered import remembered_columns
from unweave.data.rows import Row, Turn, content_id
from unweave.errors import ConfigError, DataError, StoreError
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded, load
from unweave.models.vocabulary import require_tokens
from unweave.store.outputs import remember_output
from unweave.store.shards import BLOCK_BYTES
from unweave.store.store import GradientStore
from unweave.store.texts import shared_system
from unweave.trace.cache import sketcher_for
from unweave.trace.config import RetrievalConfig, TraceConfig
from unweave.trace.curvature import query_vectors
from unweave.trace.details import TokenDetail, rerank_exactly
from unweave.trace.model import store_model
from unweave.trace.queries import Query, make_queries
from unweave.trace.rapidin_format import write_influence_file
from unweave.trace.retrieval import Ranking, influence_scores, rank, search
from unweave.trace.scorers import Corpus, baseline_scores, documents_of

SYSTEM_SHOWN = 60


@dataclass(frozen=True)
class TraceResult:
    """Queries with the rows that they come from.

    Attributes:
        queries: Prompt and answer of each query.
        parts: The traced part of each answer, where it is not the whole.
        rankings: The rows of each query.
        row_ids: All rows of the store, in scan order.
        scores: The influence of each row on each query; `None` where only the top rows were kept.
        texts: Row id to prompt, completion, source and line.
        seconds: Wall time of gradients and scan, loading and generation apart.
        details: For each query, row id to what its tokens contribute; empty without `rerank`.
    """

    queries: list[Row]
    parts: list[str | None]
    rankings: list[Ranking]
    row_ids: list[str]
    scores: Float[Tensor, "q n"] | None
    texts: dict[str, dict[str, Any]]
    seconds: float
    details: list[dict[str, TokenDetail]] = field(default_factory=list)


def trace_answers(config: TraceConfig, *, loaded: Loaded | None = None) -> TraceResult:
    """Find the training rows with the most influence on some answers.

    Args:
        config: Store and queries.
        loaded: The model, where it is loaded already.

    Returns:
        The rows, most helpful and most harmful first.

    Raises:
        ConfigError: When there is no query, or two kinds of it.
    """
    if (config.prompt is None) == (config.queries is None):
        raise ConfigError(
            "A trace needs a prompt or a file of queries.",
            where="--prompt, --queries",
            remedy="give exactly one of them",
        )
    if len(config.checkpoints) != len(config.learning_rates):
        raise ConfigError(
            f"{len(config.checkpoints)} checkpoints have {len(config.learning_rates)} learning rates.",
            where="--checkpoints, --learning-rates",
            remedy="give one learning rate for each further checkpoint",
        )
    store = GradientStore.open(config.store)
    loaded = loaded or load(store_model(store.spec, config))
    encoding = EncodingConfig(**store.spec.encoding)
    rows = _asked(config, loaded, encoding) if config.queries else [_query(config, loaded, encoding)]
    cut = {"span": config.span, "words": config.words, "tokens": config.tokens}
    queries = make_queries(rows, loaded.tokenizer, encoding, **cut)
    result = trace_queries(store, loaded, queries, config, keep_scores=bool(config.checkpoints))
    if config.checkpoints:
        result = _with_checkpoints(config, result, rows, cut)
    if config.output:
        described = {"store": str(config.store), "similarity": config.similarity, "learning_rate": config.learning_rate}
        write_influence_file(config.output, result.rankings, result.queries, result.row_ids, config=described)
    if config.tda:
        from unweave.trace.tda_format import write_tda_file

        write_tda_file(config.tda, result)
    if config.html:
        from unweave.report.trace_page import write_trace_page

        write_trace_page(config.html, result, store)
    for path in (config.output, config.tda, config.html):
        if path is not None:
            remember_output(store, path)
    return result


def trace_rows(
    store: GradientStore, loaded: Loaded, queries: Sequence[Row], config: RetrievalConfig | None = None
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
    store: GradientStore,
    loaded: Loaded,
    queries: Sequence[Query],
    config: RetrievalConfig,
    *,
    keep_scores: bool = True,
) -> TraceResult:
    """Trace answers or parts of them.

    Args:
        store: The store.
        loaded: The model that it was made with.
        queries: The queries.
        config: How to score.
        keep_scores: Keep the scores of all rows, not just of the top ones.

    Returns:
        The trace.
    """
    started = time.monotonic()
    _require_possible(config)
    texts = store.texts()
    _tell_other_system(shared_system(texts, folder=store.folder), store, queries)
    row_ids, details = store.row_ids(), []
    if config.scorer != "influence":
        corpus = Corpus(store, row_ids, documents_of(texts, row_ids), config.encoder, config.seed)
        scores = baseline_scores(config.scorer, corpus, [query.row for query in queries])
        rankings = [rank(row_ids, own, top_k=config.top_k) for own in scores]
    else:
        require_tokens(loaded.model, [query.example for query in queries], tokenizer=loaded.tokenizer)
        sketcher = sketcher_for(store, loaded)
        vectors = query_vectors(sketcher, store, loaded, queries, config, texts)
        wanted = max(config.top_k, config.rerank)
        options: dict[str, Any] = {"similarity": config.similarity, "learning_rate": config.learning_rate}
        scores = None
        if config.index == "faiss":
            from unweave.trace.ann import search_index

            rankings = search_index(store, vectors, top_k=wanted, **options)
        elif keep_scores:
            row_ids, scores = influence_scores(store, vectors, block_bytes=_block_bytes(config), **options)
            rankings = [rank(row_ids, own, top_k=wanted) for own in scores]
        else:
            rankings = search(store, vectors, top_k=wanted, block_bytes=_block_bytes(config), **options)
        if config.rerank:
            reranked = [
                rerank_exactly(sketcher, store, loaded, *pair, config, texts)
                for pair in zip(queries, rankings, strict=True)
            ]
            rankings, details = [ranking for ranking, _ in reranked], [detail for _, detail in reranked]
    return TraceResult(
        [query.row for query in queries],
        [query.part for query in queries],
        rankings,
        row_ids,
        scores,
        texts,
        round(time.monotonic() - started, 3),
        details,
    )


def _require_possible(config: RetrievalConfig) -> None:
    if config.rerank and config.rerank < config.top_k:
        raise ConfigError(
            f"{config.rerank} reranked rows can't give the top {config.top_k}.",
            where="--rerank",
            remedy=f"give at least {config.top_k}",
        )
    if config.scorer != "influence" and (config.rerank or config.preconditioner != "none" or config.index != "none"):
        raise ConfigError(
            f"The scorer '{config.scorer}' knows no gradients to rerank, precondition or index.",
            where="--scorer",
            remedy="leave out --rerank, --preconditioner and --index",
        )
    if config.rerank and config.preconditioner != "none":
        raise ConfigError(
            "A preconditioned query has no factors to rerank from.",
            where="--rerank, --preconditioner",
            remedy="give one of them",
        )


def _block_bytes(config: RetrievalConfig) -> int:
    return max(1, min(BLOCK_BYTES, int(config.memory_gib * 2**30 / (2 * torch.get_num_threads()))))


def _with_checkpoints(config: TraceConfig, first: TraceResult, rows: Sequence[Row], cut: dict[str, Any]) -> TraceResult:
    """The sum of influence over checkpoints, each weighted by its learning rate."""
    if config.rerank:
        raise ConfigError(
            "Reranking looks at one checkpoint.", where="--rerank, --checkpoints", remedy="give one of them"
        )
    assert first.scores is not None
    total, place = first.scores.clone(), {row_id: index for index, row_id in enumerate(first.row_ids)}
    for folder, learning_rate in zip(config.checkpoints, config.learning_rates, strict=True):
        store = GradientStore.open(folder)
        if set(store.row_ids()) != set(place):
            raise StoreError(
                "The checkpoints' stores do not hold the same rows.",
                where=f"{config.store}, {folder}",
                remedy="cache the same data with each checkpoint",
            )
        loaded = load(store_model(store.spec, config))
        queries = make_queries(rows, loaded.tokenizer, EncodingConfig(**store.spec.encoding), **cut)
        found = trace_queries(store, loaded, queries, replace(config, learning_rate=learning_rate))
        assert found.scores is not None
        total[:, [place[row_id] for row_id in found.row_ids]] += found.scores
    rankings = [rank(first.row_ids, own, top_k=config.top_k) for own in total]
    return replace(first, rankings=rankings, scores=total)


def _tell_other_system(shared: str | None, store: GradientStore, queries: Sequence[Query]) -> None:
    """Say where all rows were learned under one system text and queries are asked under another: that alone changes whom they are like."""
    given = store.spec.encoding.get("system_prompt")
    others = {query.row.id for query in queries if (query.row.system_text or given) != shared}
    if shared is not None and others:
        start = shared if len(shared) <= SYSTEM_SHOWN else f"{shared[:SYSTEM_SHOWN]}..."
        progress.say(
            f"all rows of the store stand under the system text {start!r}, and {len(others)} of the queries do not: "
            "give it with --system, or with the queries"
        )


def _asked(config: TraceConfig, loaded: Loaded, encoding: EncodingConfig) -> list[Row]:
    """The rows of a file of queries, those without an answer with the model's own."""
    rows = read_questions(config.queries, config, remembered_columns(config.store)).rows
    unanswered = [row for row in rows if not row.completion]
    if not unanswered:
        return rows
    progress.say(f"{len(unanswered)} of {len(rows)} queries have no answer: the model's own is traced")
    said = greedy_answers(loaded, unanswered, encoding, max_new_tokens=config.max_new_tokens)
    answers = {row.id: answer for row, answer in zip(unanswered, said, strict=True)}
    for row in unanswered:
        if not answers[row.id].strip():
            raise DataError(
                "The model answers nothing: there is no answer to trace.",
                where=row.place,
                remedy="leave this question out, or give an answer with it",
            )
    return [row.with_completion(answers[row.id]) if row.id in answers else row for row in rows]


def _query(config: TraceConfig, loaded: Loaded, encoding: EncodingConfig) -> Row:
    prompt = config.prompt or ""
    turns = () if config.system is None else (Turn("system", config.system),)
    row = Row(id="query", instruction=prompt, completion="", turns=turns)
    completion = config.completion
    if completion is None:
        completion = greedy_answers(loaded, [row], encoding, max_new_tokens=config.max_new_tokens)[0]
    if not completion.strip():
        raise ConfigError(
            "The answer to trace is empty.",
            where="--completion",
            remedy="give another prompt, or an answer with --completion",
        )
    return replace(row, id=content_id(prompt, "", turns, completion), completion=completion)
