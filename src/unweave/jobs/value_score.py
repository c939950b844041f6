"""`unweave value score`: values of candidate rows for all tasks in one pass, kept block by block."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unweave import progress
from unweave.attribution.caching import content_of, sketcher_for
from unweave.config import part_of
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import BusyError, ConfigError, DataError
from unweave.files import locked, remembered
from unweave.models.loading import Loaded, load, tokenizer_of
from unweave.models.vocabulary import require_tokens
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_encoder, of_model, of_named_model, of_rows, of_store, of_value, together
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.store.store import GradientStore
from unweave.valuation.baselines import BASELINES, Candidates
from unweave.valuation.config import ScoreConfig
from unweave.valuation.linfik import TaskGradients
from unweave.valuation.table import require_task_names, write_table

LESS_SAMPLE = 256
"""Candidates that Adam's second moments are estimated from, at most."""


@dataclass(frozen=True)
class ScoreResult:
    """Values of candidate rows.

    Attributes:
        output: The table.
        rows: Rows valued.
        dropped: Rows that had no room for an answer.
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
        DataError: When no row of a task has room for an answer.
    """
    started = time.monotonic()
    if "tracin" in config.baselines and config.tracin_model is None:
        raise ConfigError(
            "`tracin` needs another checkpoint.", where="--tracin-model", remedy="give the model after training"
        )
    if "less" in config.baselines and config.store is not None:
        raise ConfigError(
            "`less` needs whole gradients.", where="--baselines, --store", remedy="leave one of the two out"
        )
    require_task_names([name for name, _ in _task_files(config)])
    config = dated(config, tokenizer_of(config), config.adapter, config.model)
    run = RunFolder(config.output.parent, "value score", config, inputs=score_inputs(config))
    busy = BusyError(
        "Another process is writing this table.",
        where=str(config.output),
        remedy="wait for it to end, or choose another --output",
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
    encoding = _encoding(config)
    encoded = encode_rows(rows, loaded.tokenizer, encoding)
    by_id = {row.id: row for row in rows}
    kept = [by_id[example.row_id] for example in encoded.examples]
    tasks = task_rows(config)
    examples = {name: encode_rows(own, loaded.tokenizer, encoding).examples for name, own in tasks.items()}
    require_tokens(loaded.model, [*encoded.examples, *(one for own in examples.values() for one in own)])
    for name, own in examples.items():
        if not own:
            raise DataError(
                f"The task '{name}' has no row with room for an answer.", where=name, remedy="raise --max-length"
            )
    columns = (
        _from_store(config, loaded, encoded.examples, examples)
        if config.store
        else _exact(config, loaded, encoded.examples, examples, identity=identity)
    )
    losses = columns.pop("loss")
    known = Candidates(kept, losses, tasks, loaded, replace(config, **encoding.__dict__))
    for name in config.baselines:
        if name in BASELINES:
            columns |= BASELINES[name](known)
    if "tracin" in config.baselines:
        final = load(replace(config, model=str(config.tracin_model), adapter=None))
        later = _exact(
            replace(config, baselines=()), final, encoded.examples, examples, identity=identity, key="tracin"
        )
        columns |= {f"tracin.{name}": later[name] for name in tasks}
    if "gradnorm" not in config.baselines:
        columns.pop("gradnorm", None)
    ids = [row.id for row in kept]
    write_table(config.output, {"id": ids, "line": [row.line for row in kept], **columns, "loss": losses})
    shutil.rmtree(_blocks(config.output), ignore_errors=True)
    dropped = len(rows) - len(kept)
    seconds = round(time.monotonic() - started, 3)
    return ScoreResult(config.output, len(kept), dropped, list(tasks), columns, ids, seconds)


def task_rows(config: ScoreConfig) -> dict[str, list[Row]]:
    """The tasks' validation rows.

    Args:
        config: Tasks as NAME=FILE or FILE.

    Returns:
        Name to rows.

    Raises:
        ConfigError: When there is no task.
    """
    found: dict[str, list[Row]] = {}
    for name, path in _task_files(config):
        found[name] = read_training_rows(path, replace(config, limit=None)).rows
    if not found:
        raise ConfigError("Values need a task.", where="--tasks", remedy="give NAME=FILE of validation rows")
    return found


def _encoding(config: ScoreConfig) -> EncodingConfig:
    """The store's encoding where there is one: gradients of other tokens are not comparable."""
    if config.store is not None:
        return EncodingConfig(**GradientStore.open(config.store).spec.encoding)
    return part_of(EncodingConfig, config)


def _exact(
    config: ScoreConfig,
    loaded: Loaded,
    rows: Sequence[Example],
    tasks: dict[str, list[Example]],
    *,
    identity: str,
    key: str = "linfik",
) -> dict[str, list[float]]:
    parameters = config.parameters
    if parameters == "auto":
        parameters = "lora" if loaded.adapter is not None else "linear"
    gradients = GradientConfig(parameters=parameters, normalize="none", token_budget=config.token_budget)
    sketcher = Sketcher(loaded.model, pad_token_id=loaded.tokenizer.pad_token_id, config=gradients)
    with_less = "less" in config.baselines
    part_identity = {"run": identity, "key": key}
    # Task gradients are made when the first block is missing: a finished run is read, not computed.
    made: list[TaskGradients] = []

    def gradients_of_tasks() -> TaskGradients:
        if not made:
            made.append(TaskGradients(sketcher, list(tasks.values()), reduction=config.reduction))
            if with_less:
                made[0].prepare_less(less_sample(rows))
        return made[0]

    def block(part: Sequence[Example]) -> dict[str, Any]:
        found = gradients_of_tasks().values(part, advance=advance)
        cosines = found.cosines.T.tolist() if found.cosines is not None else None
        return {
            "products": found.products.T.tolist(),
            "cosines": cosines,
            "norms": found.norms.tolist(),
            "losses": found.losses.tolist(),
        }

    columns: dict[str, list[float]] = {
        name: [] for name in (*tasks, *(f"less.{name}" for name in tasks if with_less), "gradnorm", "loss")
    }
    with progress.task(f"value {config.data.name}", len(rows)) as advance:
        for number, start in enumerate(range(0, len(rows), config.block_rows)):
            part = rows[start : start + config.block_rows]
            path = _blocks(config.output) / f"{key}-{number:06d}.json"
            own = remembered(path, part_identity, lambda part=part: block(part), key="values", what="A block of values")
            for index, name in enumerate(tasks):
                columns[name] += [config.learning_rate * value for value in own["products"][index]]
                if with_less:
                    columns[f"less.{name}"] += own["cosines"][index]
            columns["gradnorm"] += own["norms"]
            columns["loss"] += own["losses"]
    return columns


def _from_store(
    config: ScoreConfig, loaded: Loaded, rows: Sequence[Example], tasks: dict[str, list[Example]]
) -> dict[str, list[float]]:
    assert config.store is not None, "values from a store need one"
    store = GradientStore.open(config.store)
    sketcher = sketcher_for(store, loaded)
    queries = torch.stack([sketcher.sketch_all(own).sketches.mean(dim=0) for own in tasks.values()])
    ids = [example.row_id for example in rows]
    store.require_rows(ids, [content_of(example) for example in rows])
    parts = [
        store.read(ids[start : start + config.block_rows]) @ queries.T
        for start in range(0, len(ids), config.block_rows)
    ]
    values = config.learning_rate * torch.cat(parts)
    columns = {name: values[:, index].tolist() for index, name in enumerate(tasks)}
    return columns | {"gradnorm": store.column("norms", ids).tolist(), "loss": store.column("losses", ids).tolist()}


def _blocks(output: Path) -> Path:
    return output.with_name(f".{output.name}.blocks")


def less_sample(rows: Sequence[Example]) -> list[Example]:
    """The candidates that `less` estimates Adam's second moments from.

    Args:
        rows: All candidates.

    Returns:
        256 of them at equal distances, or all where there are no more.
    """
    count = min(LESS_SAMPLE, len(rows))
    return [rows[index * len(rows) // count] for index in range(count)]
