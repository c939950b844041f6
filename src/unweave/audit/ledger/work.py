"""The steps of a request: each makes its files whole or not at all, and may be made again."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.audit.ledger.draws import drawn, held_out_rows, staying_copies
from unweave.audit.ledger.job import Job, require_unchanged
from unweave.audit.ledger.measure import measure
from unweave.audit.ledger.reach import reach
from unweave.audit.ledger.records import hide_identity, is_made
from unweave.audit.ledger.tokens import MEASURED, choose_encoding, encoding_of, lost_rows, require_all
from unweave.config import load_yaml, to_plain
from unweave.data.config import AS_WRITTEN, read_own
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.digests import all_files
from unweave.errors import ConfigError, DataError, StoreError
from unweave.files import write_json, write_jsonl
from unweave.forget.config import ForgetConfig
from unweave.forget.methods import METHODS, get_method
from unweave.forget.stage import forget_rows
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.outputs import SNAPSHOTS
from unweave.store.care import compact_store
from unweave.store.store import GradientStore
from unweave.train.recipe import read_recipe
from unweave.train.sft import fine_tune
from unweave.weigh.config import WeighConfig
from unweave.weigh.stage import weigh_rows

RETRAIN = "retrain"
WEIGHTS = "forget_weights.jsonl", "retain_weights.jsonl"
MEASURED_AFTER, MEASURED_ORIGIN = "measured.after.json", "measured.origin.json"
SETS = "forget", "retain", "test", "holdout", "replacement"


def prepare(job: Job) -> dict[str, Path]:
    """Write the rows of the run.

    Args:
        job: The request.

    Returns:
        The files.

    Raises:
        ConfigError: When the method can't express the request.
        DataError: When no other rows are left to keep or to test on.
    """
    rows, config = require_unchanged(job), job.config
    method = get_method(config.method)
    if job.request.kind not in method.requests:
        able = ", ".join(name for name, other in METHODS.items() if job.request.kind in other.requests)
        raise ConfigError(
            f"The method '{config.method}' can't express a {job.request.kind}.",
            where="--method",
            remedy=f"use one of: {able}",
        )
    retain, test = drawn(job, list(rows), copies={copy.row_id for copy in staying_copies(job)}, tell=True)
    replacement = _replacement(job)
    forget = [rows[row_id] for row_id in job.request.rows]
    if job.request.kind == "correction":
        forget = [replace(row, clean_completion=replacement[row.id].completion) for row in forget]
    parts: dict[str, Sequence[Row]] = {
        "forget": forget,
        "retain": [rows[row_id] for row_id in retain],
        "test": [rows[row_id] for row_id in test],
        "holdout": held_out_rows(job),
        "replacement": list(replacement.values()),
    }
    if not parts["retain"] or not parts["test"]:
        raise DataError(
            f"The data leaves {len(retain)} rows to keep and {len(test)} to test on.",
            where=job.ledger.origin().data,
            remedy="give --retain-rows and --test-rows of 1 at least, and data with rows that no request names",
        )
    if (job.request.kind == "modification" and not _has_option(job, "replacement")) or (
        job.request.kind == "correction" and not _hears_clean_answers(job)
    ):
        # The new rows are learned beside the rows that are kept; under their own ids, since the old ones are to be forgotten.
        new = [replace(row, id=f"{row.id}+new") for row in replacement.values()]
        parts["retain"] = [*new, *parts["retain"]]
    job.work.mkdir(parents=True, exist_ok=True)
    for name, own in parts.items():
        write_jsonl(job.work / f"{name}.jsonl", [row.to_record() for row in own])
    return {name: job.work / f"{name}.jsonl" for name in parts}


def measure_before(job: Job) -> dict[str, Path]:
    """Measure the current model.

    Args:
        job: The request.

    Returns:
        The file.
    """
    loaded = _load(job, job.before)
    sets = work_sets(job)
    retain = {"retain": read_own(job.work / "retain.jsonl").rows}
    encoding, source = choose_encoding(job, loaded, sets | retain)
    places = {row.id: row.place for row in job.rows}
    lost = lost_rows(sets | retain, loaded, encoding, places=places)
    require_all(lost, encoding)
    progress.say(f"rows are made into tokens as in {source}")
    found = measure(loaded, sets, encoding) | {
        "encoding": {"options": to_plain(encoding), "source": source},
        "lost": lost,
        "copies": [copy.__dict__ for copy in staying_copies(job)],
    }
    write_json(job.folder / MEASURED, found)
    return {"measured": job.folder / MEASURED}


def weigh(job: Job) -> dict[str, Path]:
    """Weigh the rows by influence.

    Args:
        job: The request.

    Returns:
        The weight files; none for uniform weights.

    Raises:
        ConfigError: When weights are asked for and the ledger has no store.
        StoreError: When the store lacks a row.
    """
    if job.config.weights == "uniform" or job.config.method == RETRAIN:
        return {}
    store = job.ledger.origin().store
    if store is None:
        raise ConfigError(
            f"{job.config.weights} weights need influence, and the ledger has no store.",
            where="--weights",
            remedy="use --weights uniform, or make the ledger with --store",
        )
    # The store knows rows by their own ids.
    own = {job.ledger.name_of(row_id): row_id for row_id in GradientStore.open(Path(store)).names()}
    weighing: Any = {name: job.work / f"weigh.{name}.jsonl" for name in ("forget", "retain")}
    for name, path in weighing.items():
        rows = read_own(job.work / f"{name}.jsonl").rows
        if missing := [row.id for row in rows if row.id not in own]:
            raise StoreError(
                f"The store lacks {len(missing)} of the rows, such as '{missing[0]}'.",
                where=store,
                remedy="cache the training rows (a modification's new rows too), or use --weights uniform",
            )
        write_jsonl(path, [replace(row, id=own[row.id]).to_record() for row in rows])
    out: Any = dict(zip(("out_forget", "out_retain"), (job.folder / name for name in WEIGHTS), strict=True))
    weigh_rows(WeighConfig(method=job.config.weights, store=Path(store), seed=job.config.seed, **weighing, **out))
    return {name: job.folder / name for name in WEIGHTS}


def forget(job: Job) -> dict[str, Path]:
    """Make the new adapter.

    Args:
        job: The request.

    Returns:
        All files of its folder: whoever loads it reads more than its weights.
    """
    if not is_made(job):
        if job.config.method == RETRAIN:
            _retrain(job)
        else:
            forget_rows(unlearning(job))
        hide_identity(job)
    return {path.relative_to(job.adapter).as_posix(): path for path in all_files(job.adapter)}


def unlearning(job: Job) -> ForgetConfig:
    """The config of the unlearning run.

    Args:
        job: The request.

    Returns:
        An instance of the method's own config.
    """
    config, kind = job.config, get_method(job.config.method).config_type
    files: Any = {
        "forget": job.work / "forget.jsonl",
        "retain": job.work / "retain.jsonl",
        "output_dir": job.adapter,
    }
    base = (
        replace(load_yaml(kind, config.forget_config, command="forget"), **files)
        if config.forget_config
        else kind(**files)
    )
    base = replace(base, **encoding_of(job).__dict__)
    weights = [job.folder / name if (job.folder / name).is_file() else None for name in WEIGHTS]
    is_adapter = (Path(job.before) / "adapter_config.json").is_file()
    model: Any = {
        "model": job.before,
        "adapter": None,
        "adapter_mode": "continue" if is_adapter else "new",
        "dtype": config.dtype,
        "device": config.device,
        **AS_WRITTEN,
    }
    if _has_option(job, "request"):
        model["request"] = job.request.kind
    if _has_option(job, "replacement") and job.request.kind == "modification":
        model["replacement"] = job.work / "replacement.jsonl"
    return replace(base, **model, forget_weights=weights[0], retain_weights=weights[1], seed=config.seed)


def measure_after(job: Job) -> dict[str, Path]:
    """Measure the new adapter, and the model before all requests where that is another than the one before.

    Args:
        job: The request.

    Returns:
        The files.
    """
    files = {"after": job.folder / MEASURED_AFTER}
    write_json(files["after"], _measured(job, str(job.adapter)))
    origin = job.ledger.origin().model
    if origin != job.before:
        files["origin"] = job.folder / MEASURED_ORIGIN
        write_json(files["origin"], _measured(job, origin, only="test"))
    return files


def clean_store(job: Job) -> dict[str, Path]:
    """Take the rows out of the gradient store, and away from what runs have left behind.

    Args:
        job: The request.

    Returns:
        A record of what was taken out, and of what is out of reach.
    """
    record: dict[str, Any] = {"store": job.ledger.origin().store, "removed": []}
    for place in job.stores:
        store = GradientStore.open(place)
        with store.writing():
            present = {row_id for row_id in store.names() if job.ledger.name_of(row_id) in job.request.rows}
            if present:
                store.delete(sorted(present))
        compact_store(GradientStore.open(place))
        # Of a run that a kill cut short the rows may be gone already: what counts is that they are.
        record["removed"] = sorted(job.request.rows)
    if job.further_stores:
        record["stores"] = job.further_stores
    record |= reach(job)
    write_json(job.folder / "store.json", record)
    return {"store": job.folder / "store.json"}


def weights_of(folder: Path) -> Path:
    """The file of an adapter's weights.

    Args:
        folder: The adapter's folder.

    Returns:
        Its path.
    """
    return folder / "adapter_model.safetensors"


def work_sets(job: Job) -> dict[str, list[Row]]:
    """The rows of the run, by set.

    Args:
        job: The request.

    Returns:
        Those that are measured.
    """
    found = {}
    for name in SETS:
        path = job.work / f"{name}.jsonl"
        if name != "retain" and path.stat().st_size:
            found[name] = read_own(path).rows
    return found


def _measured(job: Job, model: str, *, only: str | None = None) -> dict[str, Any]:
    sets = work_sets(job)
    return measure(_load(job, model), {only: sets[only]} if only else sets, encoding_of(job))


def _load(job: Job, model: str) -> Loaded:
    return load(ModelConfig(model=model, dtype=job.config.dtype, device=job.config.device))


def _retrain(job: Job) -> None:
    """The original training again, without what all requests up to this one took out, and with what they put in its place."""
    recipe = read_recipe(job.ledger.origin().model)
    gone: dict[str, Row | None] = {}
    for other in [*job.ledger.carried_out(until=job.begin), job.request]:
        new = {row.id: row for row in job.ledger.new_rows(other)}
        gone |= {row_id: new.get(row_id) for row_id in other.rows}
    without = {job.ledger.name_of(row.id) for row in read_beside(recipe.without, recipe)} if recipe.without else set()
    rows = [gone.get(row.id, row) for row in job.rows if row.id not in without]
    write_jsonl(job.work / "train.jsonl", [row.to_record() for row in rows if row is not None])
    training = replace(
        recipe,
        data=job.work / "train.jsonl",
        without=None,
        **AS_WRITTEN,
        output_dir=job.adapter,
        snapshots=(),
        dtype=job.config.dtype,
        device=job.config.device,
    )
    if training.tuning != "lora":
        raise ConfigError(
            "A ledger's models are adapters.", where="--method retrain", remedy="train with --tuning lora"
        )
    fine_tune(training)
    shutil.rmtree(job.adapter / SNAPSHOTS, ignore_errors=True)


def _has_option(job: Job, name: str) -> bool:
    return name in get_method(job.config.method).config_type.__dataclass_fields__


def _hears_clean_answers(job: Job) -> bool:
    """Whether the method itself learns the clean answers of forget rows."""
    method = get_method(job.config.method)
    return (method.uses_clean and method.clean_answers is None) or method.train is not None


def _replacement(job: Job) -> dict[str, Row]:
    """The new rows, unchanged since the request was made."""
    if job.request.replacement is None:
        return {}
    rows = {row.id: row for row in job.ledger.new_rows(job.request)}
    wanted: dict[str, str] = job.request.events[0].content["replacement_rows"]
    if {row_id: job.ledger.row_hash(row) for row_id, row in rows.items()} != wanted:
        raise DataError(
            "The new rows have changed since the request was made.",
            where=job.request.replacement,
            remedy="restore the file, or add a new request",
        )
    return rows
