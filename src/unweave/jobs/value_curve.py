"""`unweave value curve`: what choosing by a score does to a task, by training on the chosen rows and measuring held-out ones."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from unweave import progress
from unweave.attribution.baselines import random_scores
from unweave.config import part_of
from unweave.data.config import AS_WRITTEN, DataConfig
from unweave.data.dates import dated, recorded
from unweave.data.encoding import EncodingConfig
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError
from unweave.files import remembered, write_json
from unweave.gradients.scoring import row_losses
from unweave.jobs.value_select import select_rows
from unweave.models.holding import require_whole
from unweave.models.loading import ModelConfig, load, tokenizer_of
from unweave.names import file_name
from unweave.run.folder import RunFolder, environment
from unweave.run.identity import identity_digest
from unweave.run.inputs import Input, of_path, of_rows
from unweave.stats.intervals import Estimate, across_seeds, paired_difference
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune, train_inputs
from unweave.train.trackers import require_tracker
from unweave.valuation.config import CurveConfig, SelectConfig
from unweave.valuation.table import read_table, task_columns, write_table

RANDOM = "random"
RESULT = "curve.json"


@dataclass(frozen=True)
class CurvePoint:
    """What training on the best rows of a column does to the held-out ones.

    Attributes:
        column: The score that rows were chosen by.
        share: Of the candidates.
        rows: Rows trained on.
        loss: Mean held-out loss over seeds, in nats a token, each row counting alike; Student's interval.
        by_seed: The loss of each seed.
        above_first: Held-out loss minus that of the first column at the same share: the mean over seeds, row by row, with its interval over rows (of these
            trainings, not of others).
        row_losses: Of the held-out rows in their order, the mean over seeds.
    """

    column: str
    share: float
    rows: int
    loss: Estimate
    by_seed: list[float]
    above_first: Estimate
    row_losses: list[float]


@dataclass(frozen=True)
class CurveResult:
    """Learning curves.

    Attributes:
        folder: Where runs and result are.
        before: Held-out loss of the model before any training.
        points: A point a column and share, columns in the order asked for.
        test_rows: Held-out rows.
        seconds: Wall time.
    """

    folder: Path
    before: float
    points: list[CurvePoint]
    test_rows: int
    seconds: float


def learning_curves(config: CurveConfig) -> CurveResult:
    """Train on the best rows of each column, measure, and write the curves. A rerun makes only the runs that are missing.

    Args:
        config: Table, candidates, held-out rows, columns, shares, seeds, and how to train.

    Returns:
        The curves.

    Raises:
        ConfigError: When a column is not in the table, a share is out of range, or a tracker can't be used.
        DataError: When no held-out row leaves space for an answer, or table and rows do not fit.
    """
    started = time.monotonic()
    require_tracker(config.report_to, private=config.dp_epsilon is not None)
    require_whole(config, "Training")
    if config.report_to == "tensorboard":
        raise ConfigError(
            "The folders of a curve's training runs are not kept, nor would be what `tensorboard` writes there.",
            where="`report_to`",
            remedy="use another tracker, or none",
        )
    table = read_table(config.values)
    columns = config.scores or (*task_columns(table)[:1], RANDOM)
    if unknown := [name for name in columns if name not in table and name != RANDOM]:
        raise ConfigError(
            f"The table has no column '{unknown[0]}'.", where=str(config.values), remedy="give columns of it, or random"
        )
    if not config.seeds or not config.shares or not all(0 < share <= 1 for share in config.shares):
        raise ConfigError(
            "A share is out of range.", where="`shares`, `seeds`", remedy="give shares up to 1, and a seed"
        )
    config = recorded(config, config.output_dir)
    config = dated(config, tokenizer_of(config), config.adapter, config.model)
    run = RunFolder(config.output_dir, "value curve", config, inputs=curve_inputs(config))
    with run.held():
        return _curves(run, config, table, columns, started)


def curve_inputs(config: CurveConfig) -> dict[str, Input]:
    """What learning curves are made from.

    Args:
        config: Their config.

    Returns:
        Option to input.
    """
    return {**train_inputs(config), "values": of_path(config.values), "test": of_rows(config.test, config)}


def _curves(
    run: RunFolder, config: CurveConfig, table: dict[str, list[Any]], columns: Sequence[str], started: float
) -> CurveResult:
    test = read_training_rows(config.test, replace(part_of(DataConfig, config), limit=None)).rows
    encoding = part_of(EncodingConfig, config)
    training = part_of(TrainConfig, config)
    identity = {
        "training": RunFolder(
            config.output_dir, "train", replace(training, seed=0), inputs=train_inputs(training)
        ).identity(),
        "test": run.inputs["test"].content,
    }
    run.start(rows=test)

    def measured(model: ModelConfig, label: str) -> list[float]:
        return row_losses(load(model), test, encoding, description=f"held-out rows, {label}").means()

    def one(column: str, share: float, seed: int, folder: Path) -> dict[str, Any]:
        budget = max(1, round(share * len(table["id"])))
        scores = random_scores(len(table["id"]), seed=seed) if column == RANDOM else table[column]
        write_table(folder / "scores.parquet", {"id": table["id"], "score": scores})
        chosen = select_rows(
            SelectConfig(
                **part_of(DataConfig, config).__dict__, values=folder / "scores.parquet", output=folder / "chosen.jsonl", data=config.data, task="score",
                budget_rows=budget,
            )
        )  # fmt: skip
        # What was chosen is written in the project's own layout, whatever the candidates' columns are called.
        trained = fine_tune(
            replace(training, **{**AS_WRITTEN, "data": chosen.output, "output_dir": folder / "model", "seed": seed})
        )
        label = f"{column}, {share:.0%}, seed {seed}"
        losses = measured(replace(part_of(ModelConfig, config), model=str(trained.folder), adapter=None), label)
        shutil.rmtree(folder / "model")
        progress.say(f"curve: {label}: loss {fmean(losses):.3f}")
        return {"rows": chosen.rows, "losses": losses}

    before = remembered(
        config.output_dir / "runs" / "before.json",
        identity,
        lambda: measured(part_of(ModelConfig, config), "before"),
        key="losses",
        what="The losses before",
    )
    found: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for seed, share, column in product(config.seeds, config.shares, columns):
        folder = config.output_dir / "runs" / f"{file_name(column)}-{share}-{seed}"
        own = {"ids": table["id"], "scores": table[column] if column != RANDOM else None, **identity}
        done = remembered(
            folder.with_suffix(folder.suffix + ".json"),
            {"digest": identity_digest(own)},
            lambda column=column, share=share, seed=seed, folder=folder: one(column, share, seed, folder),
            key="run",
            what="A run",
        )
        found.setdefault((column, share), []).append(done)
    points = [
        _point(*key, runs, found[columns[0], key[1]])
        for key, runs in sorted(found.items(), key=lambda item: columns.index(item[0][0]))
    ]
    seconds = round(time.monotonic() - started, 3)
    result = CurveResult(config.output_dir, fmean(before), points, len(before), seconds)
    write_json(config.output_dir / RESULT, {**to_json(result), "environment": environment()})
    return result


def to_json(result: CurveResult) -> dict[str, Any]:
    """The curves as JSON holds them.

    Args:
        result: The curves.

    Returns:
        Plain values.
    """
    points = [
        {**point.__dict__, "loss": point.loss.to_json(), "above_first": point.above_first.to_json()}
        for point in result.points
    ]
    return {**result.__dict__, "folder": str(result.folder), "points": points}


def _point(column: str, share: float, runs: Sequence[dict[str, Any]], first: Sequence[dict[str, Any]]) -> CurvePoint:
    own, other = (
        [fmean(values) for values in zip(*(run["losses"] for run in side), strict=True)] for side in (runs, first)
    )
    by_seed = [fmean(run["losses"]) for run in runs]
    return CurvePoint(
        column, share, runs[0]["rows"], across_seeds(by_seed), by_seed, paired_difference(other, own), own
    )
