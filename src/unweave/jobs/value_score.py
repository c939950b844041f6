"""`unweave value score`: values of candidate rows for all tasks in one pass, kept block by block."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unweave.config import part_of
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import BusyError
from unweave.files import remembered
from unweave.locks import locked
from unweave.models.loading import load, tokenizer_of
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_rows, of_store, of_value, together
from unweave.run.model_inputs import of_encoder, of_model, of_named_model
from unweave.store.store import GradientStore
from unweave.valuation.config import ScoreConfig
from unweave.valuation.table import write_table
from unweave.valuation.values import require_scores, value


@dataclass(frozen=True)
class ScoreResult:
    """Values of candidate rows.

    Attributes:
        output: The table.
        rows: Rows valued.
        dropped: Rows that left no space for an answer.
        tasks: Their names.
        columns: Name of each column of numbers to its values, in the order of the rows; the tasks come first.
        row_ids: The rows.
        seconds: Wall time.
    """

    output: Path
    rows: int
    dropped: int
    tasks: list[str]
    columns: dict[str, list[float]]
    row_ids: list[str]
    seconds: float


def score_rows(config: ScoreConfig) -> ScoreResult:
    """Value candidate rows, and write the table.

    Args:
        config: Rows, tasks, model or store, baselines.

    Returns:
        The values.

    Raises:
        ConfigError: When a task's name can't be a column's, or a baseline lacks what it needs.
        DataError: When no row of a task leaves space for an answer.
    """
    started = time.monotonic()
    names = [name for name, _ in _task_files(config)]
    require_scores(
        names,
        baselines=config.baselines,
        has_store=config.store is not None,
        has_tracin=config.tracin_model is not None,
    )
    config = dated(config, tokenizer_of(config), config.adapter, config.model)
    run = RunFolder(config.output.parent, "value score", config, inputs=score_inputs(config))
    busy = BusyError(
        "Another process is writing this table.",
        where=str(config.output),
        remedy="wait for it to end, or choose another `output`",
    )
    with locked(config.output.with_name(f".{config.output.name}.lock"), busy):
        return _score(config, run.digest, started)


def score_inputs(config: ScoreConfig) -> dict[str, Input]:
    """What valuing reads.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """
    tasks = {f"{place}:{name}": of_rows(path, config) for place, (name, path) in enumerate(_task_files(config))}
    embeds = "embedding" in config.baselines
    return {
        **of_model(config),
        "data": of_rows(config.data, config),
        "tasks": together(tasks),
        "store": of_store(config.store),
        "tracin_model": of_named_model(config.tracin_model),
        "encoder": of_encoder(config.encoder) if embeds else of_value(None),
    }


def _task_files(config: ScoreConfig) -> list[tuple[str, str]]:
    """Name and file of each task, as given."""
    parts = [task.rpartition("=") for task in config.tasks]
    return [(name or Path(path).stem, path) for name, _, path in parts]


def _score(config: ScoreConfig, identity: str, started: float) -> ScoreResult:
    loaded = load(config)
    rows = read_training_rows(config.data, config)
    later = None
    if "tracin" in config.baselines:
        later = load(replace(config, model=str(config.tracin_model), adapter=None))

    def keep(name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = _blocks(config.output) / f"{name}.json"
        mark = {"run": identity, "key": name.rpartition("-")[0]}
        return remembered(path, mark, compute, key="values", what="A block of values")

    table = value(
        loaded,
        rows,
        tasks=task_rows(config),
        learning_rate=config.learning_rate,
        parameters=config.parameters,
        reduction=config.reduction,
        store=GradientStore.open(config.store) if config.store else None,
        baselines=config.baselines,
        tracin_model=later,
        encoder=config.encoder,
        encoding=part_of(EncodingConfig, config),
        token_budget=config.token_budget,
        block_rows=config.block_rows,
        seed=config.seed,
        keep=keep,
    )
    write_table(config.output, table.to_columns())
    shutil.rmtree(_blocks(config.output), ignore_errors=True)
    seconds = round(time.monotonic() - started, 3)
    return ScoreResult(
        config.output, len(table), table.dropped, list(table.tasks), table.columns, table.row_ids, seconds
    )


def task_rows(config: ScoreConfig) -> dict[str, list[Row]]:
    """The tasks' validation rows.

    Args:
        config: Tasks as NAME=FILE or FILE.

    Returns:
        Name to rows.
    """
    unlimited = replace(config, limit=None)
    return {name: read_training_rows(path, unlimited).rows for name, path in _task_files(config)}


def _blocks(output: Path) -> Path:
    return output.with_name(f".{output.name}.blocks")
