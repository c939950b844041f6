"""From queries to the vectors that a store is searched with: their sketches, with a curvature in between where one is asked for."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.queries import Query
from unweave.attribution.registry import NOT_OF_GRADIENTS, PRECONDITIONERS
from unweave.curvature.base import Damping, Gradients, Preconditioner, Problem, gradients_of, unnoted
from unweave.curvature.trak import trak
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.models.loading import Loaded
from unweave.registry import entry
from unweave.sketch.sketcher import Sketcher
from unweave.store.base import Store
from unweave.store.texts import stored_rows


def query_vectors(
    sketcher: Sketcher,
    store: Store,
    loaded: Loaded,
    queries: Sequence[Query],
    config: RetrievalConfig,
    texts: dict[str, dict[str, Any]],
) -> Float[Tensor, "q K"]:
    """The vectors that a store is searched with.

    Args:
        sketcher: Makes sketches like the store's.
        store: The store.
        loaded: Its model.
        queries: The queries.
        config: The preconditioner and its options.
        texts: Row id to its text.

    Returns:
        One sketch a query.
    """
    if config.preconditioner == "none":
        return _sketches(sketcher, queries)
    if sketcher.config.normalize != "none":
        progress.say(
            f"the store's gradients are normalised by {sketcher.config.normalize}, the curvature is that of plain ones: "
            "cache with `normalize` none for influence functions proper"
        )
    if config.preconditioner == "trak":
        fitted = store.read(fitted_on(store, config))
        return trak(fitted, _sketches(sketcher, queries), damping=config.damping)
    problem = curvature_problem(sketcher, store, loaded, config, texts)
    held = preconditioner(config.preconditioner)(problem, _gradients(sketcher, queries))
    return sketcher.sketch_gradients(held)


def _sketches(sketcher: Sketcher, queries: Sequence[Query]) -> Float[Tensor, "q K"]:
    """The queries' own sketches; of a contrast that of the difference of two gradients."""
    plain = [index for index, query in enumerate(queries) if query.against is None]
    found = sketcher.sketch_all([queries[index].example for index in plain]).sketches
    if len(plain) == len(queries):
        return found
    sketches = torch.empty(len(queries), found.shape[1])
    sketches[plain] = found
    for index, query in enumerate(queries):
        if query.against is not None:
            sketches[index] = sketcher.sketch_difference(query.example, query.against)
    return sketches


def _gradients(sketcher: Sketcher, queries: Sequence[Query]) -> Gradients:
    """The queries' own gradients, or differences of gradients."""
    found = gradients_of(sketcher, [query.example for query in queries])
    others = {index: query.against for index, query in enumerate(queries) if query.against is not None}
    taken = gradients_of(sketcher, list(others.values())) if others else {}
    for name, piece in taken.items():
        found[name][list(others)] -= piece
    return found


def preconditioner(name: str) -> Preconditioner:
    """A preconditioner of gradients.

    Args:
        name: Its name in `PRECONDITIONERS`.

    Returns:
        The preconditioner.

    Raises:
        ConfigError: When there is none of that name.
    """
    return entry(PRECONDITIONERS, name, option="preconditioner", others=NOT_OF_GRADIENTS)


def fitted_on(store: Store, config: RetrievalConfig) -> list[str]:
    """The rows that a curvature is estimated from: the same ones for every preconditioner.

    Args:
        store: The store.
        config: How many, and the seed of the choice.

    Returns:
        Their ids.
    """
    chosen = sorted(store.row_ids(), key=lambda row_id: hashlib.blake2b(f"{config.seed}:{row_id}".encode()).digest())
    return chosen[: config.fit_rows]


def curvature_problem(
    sketcher: Sketcher,
    store: Store,
    loaded: Loaded,
    config: RetrievalConfig,
    texts: dict[str, dict[str, Any]],
    *,
    note: Callable[[Damping], None] = unnoted,
) -> Problem:
    """What a preconditioner of gradients is fitted on.

    Args:
        sketcher: Model and parameters.
        store: The store.
        loaded: Its model.
        config: Rows to fit on, damping, seed.
        texts: Row id to its text.
        note: Is called with the damping that was used.

    Returns:
        The problem.
    """
    rows = stored_rows(texts, fitted_on(store, config), where=store.place)
    examples = encode_rows(rows, loaded.tokenizer, EncodingConfig(**store.spec.encoding)).examples
    return Problem(sketcher, examples, config.damping, config.seed, note)
