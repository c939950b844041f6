"""Carrying out a request, step by step; each step is recorded when its results are on the disk, and a rerun goes on after the last of them.

prepared          the rows to forget, to keep and to test on, as files (removed again at the end: a ledger keeps no forgotten text)
measured before   losses of these rows under the current model
bound             data, models and files of options, by content
weighed           influence weights, where they are asked for
forgotten         the new adapter
measured after    the same losses under it, and the drift from the model before all requests
store cleaned     the rows are gone from the gradient store, their sketches and texts too
certified         certificate.json and certificate.html
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.audit.ledger import materials, work
from unweave.audit.ledger.bound import Bound
from unweave.audit.ledger.certificate import write_certificate
from unweave.audit.ledger.config import RollbackConfig, RunConfig
from unweave.audit.ledger.job import Job, recorded_config
from unweave.audit.ledger.ledger import LOCK, Ledger
from unweave.errors import ConfigError, DataError
from unweave.files import file_digest, locked, read_json
from unweave.names import require_name
from unweave.ranges import require_in_range
from unweave.temporary import remove_stale

STEPS: dict[str, Callable[[Job], dict[str, Path]]] = {
    "prepared": work.prepare,
    "measured before": work.measure_before,
    materials.STEP: materials.gather,
    "weighed": work.weigh,
    "forgotten": work.forget,
    "measured after": work.measure_after,
    "store cleaned": work.clean_store,
    "certified": write_certificate,
}


def run_request(config: RunConfig) -> dict[str, Any]:
    """Carry out a request, or repeat it elsewhere.

    Args:
        config: Which, and how.

    Returns:
        The certificate; with `replay`, whether the adapter came out the same.

    Raises:
        DataError: When the request was rolled back, or its rows have changed since.
        ConfigError: When the drift budget is used up.
    """
    require_in_range(config)
    ledger = Ledger(config.ledger)
    if config.replay is not None:
        return _replay(ledger, config)
    # Whoever verifies the request later may stand in another folder.
    named = {
        name: path.resolve() for name in ("forget_config", "holdout") if (path := getattr(config, name)) is not None
    }
    config = replace(config, **named)
    busy = DataError(
        "Another process is at work on this ledger.", where=str(config.ledger), remedy="wait for it, then run again"
    )
    with locked(config.ledger / LOCK, busy):
        request = ledger.request(config.request)
        folder = ledger.request_folder(request.id)
        if request.is_done:
            # A kill between the last event and the end of the run leaves the rows' texts behind.
            shutil.rmtree(folder / "work", ignore_errors=True)
            ledger.journal.seal()
            progress.say(f"request {request.id} is {request.state}, nothing to do")
            return read_json(folder / "certificate.json", what="The certificate")
        if request.state == "rolled back":
            raise DataError(
                f"The request '{request.id}' was rolled back.", remedy="add it anew, under another --request-id"
            )
        # An old ledger may hold what is no name: it is listed, and not carried out.
        require_name(request.id, what="The request's id", where=str(config.ledger))
        _require_budget(ledger, config)
        return _carry_out(Job(ledger, request, config, folder, ledger.model()))


def _carry_out(job: Job) -> dict[str, Any]:
    journal, request, bound = job.ledger.journal, job.request, job.bound()
    if bound.started is None or bound.started.content != job.started:
        if bound.started is not None:
            progress.say("the request is carried out with other options or inputs than before: starting over")
        bound = _begin(job)
    for name, step in STEPS.items():
        known = bound.steps[name].content["files"] if name in bound.steps else None
        if known is not None and _intact(job, known):
            continue
        progress.say(f"request {request.id}: {name}")
        files = step(job)
        digests = {key: [str(path.relative_to(job.folder)), file_digest(path)] for key, path in files.items()}
        if known is None:
            journal.append("step", request.id, step=name, files=digests)
        elif known != digests:
            # What an event has bound stays bound: what comes out otherwise is another attempt.
            progress.say(f"what '{name}' had left was lost, and came out otherwise when made again: starting over")
            _begin(job)
            return _carry_out(Job(job.ledger, request, job.config, job.folder, job.before))
    remove_stale(job.folder)
    remove_stale(job.ledger.folder, below=False)
    certificate = read_json(job.folder / "certificate.json", what="The certificate")
    journal.append(
        "done",
        request.id,
        certificate=file_digest(job.folder / "certificate.json"),
        page=file_digest(job.folder / "certificate.html"),
        drift=certificate["drift"],
        shown=certificate["shown"],
        **{"class": certificate["class"]},
    )
    shutil.rmtree(job.work, ignore_errors=True)
    if certificate["drift"]["retraining_due"]:
        progress.say("the drift budget is used up: retrain before the next request")
    return certificate


def _begin(job: Job) -> Bound:
    """Begin an attempt, with nothing of an earlier one left."""
    shutil.rmtree(job.folder, ignore_errors=True)
    job.ledger.journal.append("started", job.request.id, **job.started)
    return job.bound()


def _intact(job: Job, files: dict[str, list[str]]) -> bool:
    return all(
        (job.folder / name).is_file() and file_digest(job.folder / name) == digest for name, digest in files.values()
    )


def _require_budget(ledger: Ledger, config: RunConfig) -> None:
    done = ledger.carried_out()
    if not done or config.over_budget or config.method == work.RETRAIN:
        return
    drift = done[-1].bound.done.content["drift"]  # type: ignore[union-attr]
    if drift["retraining_due"]:
        raise ConfigError(
            f"The drift budget is used up: {drift['reason']}.",
            where=str(ledger.folder),
            remedy="run this request with --method retrain, or go on with --over-budget",
        )


def _replay(ledger: Ledger, config: RunConfig) -> dict[str, Any]:
    """The unlearning of a request again, from the same model, rows and weights, in another folder."""
    assert config.replay is not None, "a replay has a folder"
    request = ledger.request(config.request)
    started = request.bound.started
    if not request.is_done or started is None:
        raise DataError(f"The request '{request.id}' is not done.", remedy="run it first")
    if config.replay.exists() and any(config.replay.iterdir()):
        raise ConfigError("The folder of a replay is not empty.", where=str(config.replay), remedy="give a new one")
    original = ledger.request_folder(request.id)
    repeated = recorded_config(started.content["config"], ledger=config.ledger, replay=config.replay)
    job = Job(ledger, request, repeated, config.replay, started.content["before"])
    work.prepare(job)
    for name in work.WEIGHTS:
        if (original / name).is_file():
            shutil.copyfile(original / name, job.folder / name)
    work.forget(job)
    shutil.rmtree(job.work)
    own, other = (file_digest(work.weights_of(folder / "adapter")) for folder in (job.folder, original))
    return {"request": request.id, "folder": str(job.adapter), "same": own == other, "adapter": own, "original": other}


def roll_back(config: RollbackConfig) -> dict[str, Any]:
    """Make the model before the last request the current one again.

    Args:
        config: The request.

    Returns:
        The model that is current now, and what the gradient store lacks since.

    Raises:
        DataError: When the request is not the last one carried out.
    """
    ledger = Ledger(config.ledger)
    busy = DataError(
        "Another process is at work on this ledger.", where=str(config.ledger), remedy="wait for it, then run again"
    )
    with locked(config.ledger / LOCK, busy):
        request, done = ledger.request(config.request), ledger.carried_out()
        if not request.is_done:
            raise DataError(f"The request '{request.id}' is {request.state}.", remedy="only what is done can be undone")
        if done[-1].id != request.id:
            raise DataError(
                f"Later requests build on '{request.id}', the last of them '{done[-1].id}'.",
                remedy=f"roll '{done[-1].id}' back first",
            )
        ledger.journal.append("rolled back", request.id, reason=config.reason)
    store = ledger.origin().store
    return {
        "request": request.id,
        "model": ledger.model(),
        "rows_to_cache_again": sorted(request.rows) if store else [],
        "store": store,
    }
