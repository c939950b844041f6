"""Influence against what retraining does: leave-k-out, and the linear datamodelling score (LDS; Ilyas et al. 2022, Park et al. 2023).

Models are trained again without random rows, by the recipe of the model that is judged. A query's LDS is Spearman's correlation, over these models,
between its measured loss (negated) and the summed influence of the rows that each model was trained on. With one row left out at a time it is
the rank correlation of influence with leave-one-out effects, which the noise between trainings mostly hides: hence many rows at a time by default.
"""

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.registry import PRECONDITIONERS
from unweave.attribution.tracing import trace_rows
from unweave.config import part_of
from unweave.data.config import AS_WRITTEN
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.experiments.influence.agreement import curved_scores
from unweave.experiments.influence.config import InfluenceAuditConfig
from unweave.experiments.influence.lds import datamodelling_score
from unweave.files import remembered, write_jsonl
from unweave.gradients.scoring import row_losses
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.run.identity import versions
from unweave.run.inputs import of_config, rows_digest
from unweave.store.store import GradientStore
from unweave.train.config import TrainConfig
from unweave.train.recipe import read_recipe
from unweave.train.sft import fine_tune, train_inputs


def retraining_agreement(
    store: GradientStore, loaded: Loaded, queries: Sequence[Row], config: InfluenceAuditConfig
) -> dict[str, Any]:
    """Retrain, and correlate. Models that an earlier run has measured are not trained again.

    Args:
        store: The store.
        loaded: Its model.
        queries: Prompts with answers.
        config: Recipe and subsets.

    Returns:
        The LDS of the store's scores and of each other scorer.

    Raises:
        ConfigError: When there is no recipe, or too few subsets for a correlation.
        DataError: When the recipe's rows are not those of the store.
    """
    if config.subsets < 3:
        raise ConfigError("A correlation needs models.", where="`subsets`", remedy="give at least 3")
    recipe = read_recipe(config.recipe or store.spec.adapter)
    recipe = dated(recipe, loaded.tokenizer, loaded.adapter, loaded.base)
    rows = read_training_rows(recipe.data, recipe, without=recipe.without).rows
    ids = [row.id for row in rows]
    if missing := sorted(set(ids) - set(store.row_ids())):
        raise DataError(
            f"{len(missing)} training row(s) are not in the store, such as '{missing[0]}'.",
            where=str(store.folder),
            remedy="cache the whole training file",
        )
    out = config.output_dir / "retraining"
    left = left_out(ids, config.subsets, config.leave_out, seed=config.seed)
    options: Any = {"dtype": str(loaded.model.dtype)}
    options["recipe_identity"] = {"recipe": of_config(recipe, train_inputs(recipe)).content, **versions()}
    losses = [
        _measure(recipe, rows, set(own), queries, out / f"{number:03d}", number=number, **options)
        for number, own in enumerate(left)
    ]
    target = -np.array(losses)
    kept = [[row_id for row_id in ids if row_id not in set(own)] for own in left]
    found: dict[str, Any] = {"models": len(left), "left_out": len(left[0]), "rows": len(ids), "queries": len(queries)}
    place = {row_id: index for index, row_id in enumerate(ids)}
    members = [[place[row_id] for row_id in own] for own in kept]
    for name in ("influence", *config.scorers):
        scores, about = _scores(store, loaded, queries, ids, name, config)
        sums = np.stack([scores[:, own].double().sum(dim=1).numpy() for own in members])
        found[name] = datamodelling_score(sums, target).to_json() | about
    return found


def left_out(ids: Sequence[str], subsets: int, amount: float, *, seed: int) -> list[list[str]]:
    """What each model is trained without.

    Args:
        ids: All rows.
        subsets: How many models.
        amount: A share of the rows when below 1, else a number of rows.
        seed: Of the sampling.

    Returns:
        Ids of rows, a list a model; with single rows no row twice, as far as there are enough.

    Raises:
        ConfigError: When nothing would be left out, or nothing left.
    """
    count = round(amount * len(ids)) if amount < 1 else int(amount)
    if not 0 < count < len(ids):
        raise ConfigError(
            f"{count} of {len(ids)} rows can't be left out.",
            where="`leave_out`",
            remedy="give a share below 1, or a number of rows",
        )
    rng = random.Random(seed)
    if count == 1:
        order = rng.sample(list(ids), len(ids))
        return [[order[number % len(order)]] for number in range(subsets)]
    return [sorted(rng.sample(list(ids), count)) for _ in range(subsets)]


def _scores(
    store: GradientStore,
    loaded: Loaded,
    queries: Sequence[Row],
    ids: Sequence[str],
    name: str,
    config: InfluenceAuditConfig,
) -> tuple[Float[Tensor, "q n"], dict[str, Any]]:
    """A scorer's scores of the rows, and the damping of one that has curvature."""
    fitted: Any = {"fit_rows": config.fit_rows, "seed": config.seed, "damping": config.damping}
    if name in PRECONDITIONERS:
        curved = curved_scores(store, loaded, queries, RetrievalConfig(preconditioner=cast(Any, name), **fitted), ids)
        return curved.scores, {"damping": curved.damping.to_json()}
    kinds: Any = {"influence": {}, "trak": {"preconditioner": "trak", **fitted}}
    traced = trace_rows(
        store, loaded, queries, RetrievalConfig(**kinds.get(name, {"scorer": name, "seed": config.seed}))
    )
    assert traced.scores is not None, "a trace keeps the scores of all rows"
    place = {row_id: index for index, row_id in enumerate(traced.row_ids)}
    return traced.scores[:, [place[row_id] for row_id in ids]], {}


def _measure(
    recipe: TrainConfig,
    rows: Sequence[Row],
    without: set[str],
    queries: Sequence[Row],
    folder: Path,
    *,
    dtype: str,
    number: int,
    recipe_identity: dict[str, Any],
) -> list[float]:
    """The queries' losses under one retrained model; the model itself is not kept."""
    identity = {"without": sorted(without), "queries": rows_digest(queries), "dtype": dtype, **recipe_identity}

    def retrain() -> list[float]:
        progress.say(f"retraining {number}, without {len(without)} row(s)")
        write_jsonl(folder / "rows.jsonl", [row.to_record() for row in rows if row.id not in without])
        changes: Any = {"data": folder / "rows.jsonl", "without": None, "snapshots": (), **AS_WRITTEN}
        fine_tune(replace(recipe, **changes, output_dir=folder / "model"))
        model: Any = {"model": str(folder / "model"), "dtype": dtype.removeprefix("torch.")}
        return row_losses(
            load(ModelConfig(**model)), queries, part_of(EncodingConfig, recipe), description="queries"
        ).means()

    path = folder.with_suffix(".json")
    losses = remembered(path, identity, retrain, key="losses", what="A retrained model's losses")
    shutil.rmtree(folder, ignore_errors=True)
    return losses
