"""Trace generations to the training rows that they come from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.reading import read_rows
from unweave.data.rows import Row, content_id
from unweave.errors import ConfigError
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.store.store import GradientStore
from unweave.store.texts import read_texts
from unweave.trace.cache import sketcher_for
from unweave.trace.config import TraceConfig
from unweave.trace.rapidin_format import write_influence_file
from unweave.trace.retrieval import Ranking, influence_scores, rank


@dataclass(frozen=True)
class TraceResult:
    """Queries with the rows that they come from.

    Attributes:
        queries: Prompt and answer of each query.
        rankings: Its rows.
        row_ids: All rows of the store, in scan order.
        scores: The influence of each row on each query, a list a query.
        texts: Row id to prompt, completion, source and line.
        seconds: Wall time of gradients and scan, loading and generation apart.
    """

    queries: list[Row]
    rankings: list[Ranking]
    row_ids: list[str]
    scores: list[list[float]]
    texts: dict[str, dict[str, Any]]
    seconds: float


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
    store = GradientStore.open(config.store)
    loaded = loaded or load(_model_config(config, store))
    encoding = EncodingConfig(**store.spec.encoding)
    queries = read_rows(config.queries).rows if config.queries else [_query(config, loaded, encoding)]
    result = trace_rows(
        store, loaded, queries, top_k=config.top_k, similarity=config.similarity, learning_rate=config.learning_rate
    )
    if config.output:
        described = {"store": str(config.store), "similarity": config.similarity, "learning_rate": config.learning_rate}
        write_influence_file(config.output, result.rankings, queries, result.row_ids, config=described)
    return result


def trace_rows(
    store: GradientStore,
    loaded: Loaded,
    queries: Sequence[Row],
    *,
    top_k: int = 10,
    similarity: str = "dot",
    learning_rate: float = 1.0,
) -> TraceResult:
    """Trace rows, each a prompt with its answer.

    Args:
        store: The store.
        loaded: The model that it was made with.
        queries: The rows.
        top_k: Rows to list on each side.
        similarity: `dot` or `cosine`.
        learning_rate: Factor of the influence.

    Returns:
        The trace.
    """
    started = time.monotonic()
    sketcher = sketcher_for(store, loaded)
    examples = encode_rows(queries, loaded.tokenizer, EncodingConfig(**store.spec.encoding)).examples
    kept = {example.row_id for example in examples}
    queries = [query for query in queries if query.id in kept]
    sketches = sketcher.sketch_all(examples).sketches
    row_ids, scores = influence_scores(store, sketches, similarity=similarity, learning_rate=learning_rate)
    rankings = [rank(row_ids, row, top_k=top_k) for row in scores]
    texts = {text["id"]: text for text in read_texts(store.folder)}
    return TraceResult(list(queries), rankings, row_ids, scores.tolist(), texts, round(time.monotonic() - started, 3))


def _model_config(config: TraceConfig, store: GradientStore) -> ModelConfig:
    if config.model is None:
        return ModelConfig(model=store.spec.adapter or store.spec.model, dtype=config.dtype, device=config.device)
    return ModelConfig(model=config.model, adapter=config.adapter, dtype=config.dtype, device=config.device)


def _query(config: TraceConfig, loaded: Loaded, encoding: EncodingConfig) -> Row:
    prompt = config.prompt or ""
    row = Row(id="query", instruction=prompt, completion="")
    completion = config.completion
    if completion is None:
        completion = greedy_answers(loaded, [row], encoding, max_new_tokens=config.max_new_tokens)[0]
    if not completion.strip():
        raise ConfigError(
            "The answer to trace is empty.",
            where="--completion",
            remedy="give another prompt, or an answer with --completion",
        )
    return Row(id=content_id(prompt, "", (), completion), instruction=prompt, completion=completion)
