"""Scores of a store's rows by an estimator of attribution through training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.queries import Query
from unweave.attribution.targets import AnswerLoss
from unweave.attribution.trained import Trained, estimator, open_trained
from unweave.data.encoding import EncodingConfig, content_of, encode_rows
from unweave.errors import StoreError
from unweave.models.loading import Loaded
from unweave.store.base import Store
from unweave.store.texts import stored_rows


def scores_through_training(
    name: str,
    folder: Path | None,
    store: Store,
    loaded: Loaded,
    queries: Sequence[Query],
    config: RetrievalConfig,
    texts: Mapping[str, dict[str, Any]],
) -> Float[Tensor, "q n"]:
    """Score all rows of a store.

    Args:
        name: The estimator.
        folder: What the training left.
        store: The store.
        loaded: Its model.
        queries: The queries.
        config: Memory, rows to fit on, seed.
        texts: Row id to its text.

    Returns:
        In the order of `store.row_ids()`; a row that the training never saw has 0.

    Raises:
        ConfigError: When the training left nothing that the estimator can use.
        StoreError: When the training saw rows with other tokens than the store's.
    """
    row_ids = store.row_ids()
    rows = stored_rows(dict(texts), row_ids, where=store.place)
    examples = encode_rows(rows, loaded.tokenizer, EncodingConfig(**store.spec.encoding)).examples
    trained = open_trained(folder, loaded, examples)
    options = {name: getattr(config, name) for name in ("memory_gib", "fit_rows", "seed", "damping")}
    trained = replace(trained, **options)
    place = {row_id: index for index, row_id in enumerate(row_ids)}
    known = _known(trained, store, place)
    estimate = estimator(name)
    if config.estimator == "auto":
        progress.say(f"estimator: {name}")
    pad = loaded.tokenizer.pad_token_id
    targets = [AnswerLoss(query.example, pad, query.against) for query in queries]
    scores = torch.zeros(len(queries), len(row_ids), dtype=torch.float64)
    scores[:, [place[trained.run.examples[index].row_id] for index in known]] = estimate(trained, targets)[:, known]
    return scores.float()


def _known(trained: Trained, store: Store, place: Mapping[str, int]) -> list[int]:
    """Which rows of the training the store has, as they were."""
    held, rows = store.contents(), trained.run.examples
    known = [index for index, example in enumerate(rows) if example.row_id in place]
    others = [rows[index].row_id for index in known if held.get(rows[index].row_id) != content_of(rows[index])]
    if others or not known:
        raise StoreError(
            f"{len(others)} row(s) of the training have other tokens in the store, the first '{others[0]}'."
            if others
            else "The training saw none of the store's rows.",
            where=store.place,
            remedy="cache the rows that it was trained on, encoded in the same way",
        )
    if len(known) < len(rows):
        progress.say(f"{len(rows) - len(known)} row(s) of the training are not in the store, and are left out")
    return known
