"""The steps of a request: each makes its files whole or not at all, and may be made again."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.config import to_plain
from unweave.data.config import read_own
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError, StoreError
from unweave.files import write_json, write_jsonl
from unweave.jobs.weigh import weigh_rows
from unweave.ledger.attempts import ANEW
from unweave.ledger.job import Job, require_unchanged
from unweave.ledger.making import WEIGHTS, able, has_option, hears_clean_answers
from unweave.ledger.measure import measure
from unweave.ledger.measuring import MEASURED_AFTER, load_to_measure, measured_by, work_sets
from unweave.ledger.price import AUTO, RETRAIN
from unweave.ledger.probing import of_criterion, probed, require_generated
from unweave.ledger.reach import reach
from unweave.ledger.sampling import held_out_rows, retained_rows, sampled_rows, staying_copies
from unweave.ledger.tokens import MEASURED, choose_encoding, encoding_of, lost_rows, require_all
from unweave.store.maintenance import compact_store
from unweave.store.store import GradientStore
from unweave.weights.config import WeighConfig

MEASURED_ORIGIN = "measured.origin.json"


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
    require_generated(config.probes)
    if config.method != AUTO and config.method not in able(job.request.kind):
        raise ConfigError(
            f"The method '{config.method}' can't express a {job.request.kind}.",
            where="`method`",
            remedy=f"use one of: {', '.join(able(job.request.kind))}",
        )
    copies = {copy.row_id for copy in staying_copies(job)}
    retain, test = sampled_rows(job, list(rows), copies=copies, report=True)
    if config.retain is not None:
        retain = retained_rows(job, rows, apart=copies.union(test))
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
            remedy="give `retain_rows` and `test_rows` of 1 at least, and data with rows that no request names",
        )
    lead = ANEW[0] if config.method == AUTO else config.method
    if (job.request.kind == "modification" and not has_option(lead, "replacement")) or (
        job.request.kind == "correction" and not hears_clean_answers(lead)
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
    loaded = load_to_measure(job, job.before)
    sets = work_sets(job)
    retain = {"retain": read_own(job.work / "retain.jsonl").rows}
    encoding, source = choose_encoding(job, loaded, sets | retain)
    places = {row.id: row.place for row in job.rows}
    lost = lost_rows(sets | retain, loaded, encoding, places=places)
    require_all(lost, encoding)
    progress.say(f"rows are made into tokens as in {source}")
    started = time.monotonic()
    found = measure(loaded, sets, encoding) | {
        "seconds": time.monotonic() - started,
        "encoding": {"options": to_plain(encoding), "source": source},
        "lost": lost,
        "copies": [copy.__dict__ for copy in staying_copies(job)],
        "probes": probed(loaded, sets, encoding),
        **of_criterion(loaded, sets, encoding, job.config.probes),
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
            where="`weights`",
            remedy="use `weights` uniform, or make the ledger with `store`",
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
                remedy="cache the training rows (a modification's new rows too), or use `weights` uniform",
            )
        write_jsonl(path, [replace(row, id=own[row.id]).to_record() for row in rows])
    out: Any = dict(zip(("output_forget", "output_retain"), (job.folder / name for name in WEIGHTS), strict=True))
    weigh_rows(WeighConfig(method=job.config.weights, store=Path(store), seed=job.config.seed, **weighing, **out))
    return {name: job.folder / name for name in WEIGHTS}


def measure_after(job: Job) -> dict[str, Path]:
    """Measure the new adapter, and the model before all requests where that is another than the one before.

    Args:
        job: The request.

    Returns:
        The files.
    """
    files = {"after": job.folder / MEASURED_AFTER}
    # What the attempt was judged by is read again, if it is of the same weights.
    found = measured_by(job, str(job.adapter), keep=files["after"])
    if "probes" not in found:
        loaded = load_to_measure(job, str(job.adapter))
        write_json(files["after"], found | {"probes": probed(loaded, work_sets(job), encoding_of(job))})
    origin = job.ledger.origin().model
    if origin != job.before:
        files["origin"] = job.folder / MEASURED_ORIGIN
        write_json(files["origin"], measured_by(job, origin, only="test"))
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
