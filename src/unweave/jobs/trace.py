"""`unweave trace`: generations to the training rows that they come from, from a store and a file of queries to pages and files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from unweave import progress
from unweave.attribution.formats.rapidin import write_influence_file
from unweave.attribution.groups import sums_by
from unweave.attribution.model import store_model
from unweave.attribution.queries import make_queries, query_row
from unweave.attribution.result import TraceResult
from unweave.attribution.retrieval import rank
from unweave.attribution.scale import make_scale
from unweave.attribution.tracing import trace_queries
from unweave.data.encoding import EncodingConfig
from unweave.data.questions import read_questions
from unweave.data.remembered import remembered_columns
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError, StoreError
from unweave.jobs.config import TraceConfig
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded, load
from unweave.store.outputs import remember_output
from unweave.store.store import GradientStore
from unweave.train.early import final_of


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
            where="`prompt`, `queries`",
            remedy="give exactly one of them",
        )
    if config.against is not None and config.prompt is None:
        raise ConfigError(
            "One other answer does not fit a file of queries.",
            where="`against`, `queries`",
            remedy="give `against` with `prompt`, one question a trace",
        )
    if len(config.checkpoints) != len(config.learning_rates):
        raise ConfigError(
            f"{len(config.checkpoints)} checkpoints have {len(config.learning_rates)} learning rates.",
            where="`checkpoints`, `learning_rates`",
            remedy="give one learning rate for each further checkpoint",
        )
    if config.group_by is not None and config.index != "none":
        raise ConfigError(
            "An approximate index scores few of the rows: there is nothing to sum by a field.",
            where="`group_by`, `index`",
            remedy="leave one of them out",
        )
    store = GradientStore.open(config.store)
    loaded = loaded or load(store_model(store.spec, config))
    encoding = EncodingConfig(**store.spec.encoding)
    rows = (
        _asked(config, lambda: _speaker(config, store, loaded), encoding)
        if config.queries
        else [_query(config, loaded if config.completion is not None else _speaker(config, store, loaded), encoding)]
    )
    cut = {"span": config.span, "words": config.words, "tokens": config.tokens, "against": config.against}
    queries = make_queries(rows, loaded.tokenizer, encoding, **cut)
    result = trace_queries(store, loaded, queries, config, keep_scores=bool(config.checkpoints or config.group_by))
    if config.checkpoints:
        result = _with_checkpoints(config, result, rows, cut)
    if config.group_by is not None:
        assert result.scores is not None, "they were kept"
        groups = sums_by(config.group_by, result.row_ids, result.scores, result.texts, where=store.place)
        result = replace(result, groups=groups)
    if config.output:
        described = {"store": str(config.store), "similarity": config.similarity, "learning_rate": config.learning_rate}
        write_influence_file(config.output, result.rankings, result.queries, result.row_ids, config=described)
    if config.tda:
        from unweave.attribution.formats.tda import write_tda_file

        write_tda_file(config.tda, result)
    if config.html:
        from unweave.report.trace_page import write_trace_page

        write_trace_page(config.html, result, store.spec)
    for path in (config.output, config.tda, config.html):
        if path is not None:
            remember_output(store, path)
    return result


def _speaker(config: TraceConfig, store: GradientStore, loaded: Loaded) -> Loaded:
    """The model whose answers are traced: of a store at an early checkpoint that was made of a final adapter, the one with that adapter."""
    final = final_of(store.spec.adapter) if config.model is None and config.adapter is None else None
    if final is None:
        return loaded
    progress.say(f"answers are those of the final adapter, {final}")
    return load(replace(store_model(store.spec, config), adapter=final))


def _with_checkpoints(config: TraceConfig, first: TraceResult, rows: Sequence[Row], cut: dict[str, Any]) -> TraceResult:
    """The sum of influence over checkpoints, each weighted by its learning rate."""
    if config.rerank:
        raise ConfigError(
            "Reranking looks at one checkpoint.", where="`rerank`, `checkpoints`", remedy="give one of them"
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
    scales = [make_scale(len(place), first.row_ids, own, {}) for own in total]
    return replace(first, rankings=rankings, scores=total, scales=scales)


def _asked(config: TraceConfig, speaker: Callable[[], Loaded], encoding: EncodingConfig) -> list[Row]:
    """The rows of a file of queries, those without an answer with the model's own."""
    rows = read_questions(config.queries, config, remembered_columns(config.store)).rows
    unanswered = [row for row in rows if not row.completion]
    if not unanswered:
        return rows
    progress.say(f"{len(unanswered)} of {len(rows)} queries have no answer: the model's own is traced")
    said = greedy_answers(speaker(), unanswered, encoding, max_new_tokens=config.max_new_tokens)
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
    return query_row(
        loaded,
        config.prompt or "",
        completion=config.completion,
        system=config.system,
        encoding=encoding,
        max_new_tokens=config.max_new_tokens,
        description="generate",
    )
