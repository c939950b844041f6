"""Carrying out a request, step by step; each step is recorded when its results are on the disk, and a rerun goes on after the last of them.

prepared          the rows to forget, to keep and to test on, as files (removed again however the run ends: a ledger keeps no forgotten text)
measured before   losses of these rows under the current model
bound             data, models and files of options, by content
criteria named    what forgotten would look like, and what getting there costs
weighed           influence weights, where they are asked for
forgotten         the new adapter: the first attempt that meets the criteria, or the best of those that don't
measured after    the same losses under it, and the drift from the model before all requests
judged            whether the criteria are met
store cleaned     the rows are gone from the gradient store, their sketches and texts too
certified         certificate.json and certificate.html

With a key of the user's the certificate is signed after the end (`signing`).

A request whose criteria are not met ends after `judged`, with report.json and report.html: the model before stays the current one, the store keeps its
rows, and the request may be carried out again with other options.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.config import read_value
from unweave.errors import ConfigError, DataError
from unweave.files import file_digest, read_json
from unweave.ledger import attempts, materials, work
from unweave.ledger.bound import Bound
from unweave.ledger.certificate import write_certificate
from unweave.ledger.config import RunConfig, SignConfig
from unweave.ledger.criteria import name_criteria
from unweave.ledger.holding import alone
from unweave.ledger.job import Job, drift_used_up, recorded_config
from unweave.ledger.judging import VERDICT, judge_request
from unweave.ledger.ledger import WORK, Ledger
from unweave.ledger.making import WEIGHTS
from unweave.ledger.measuring import side_by_side
from unweave.ledger.price import AUTO, EXACT, RETRAIN, may_retrain, require_exact
from unweave.ledger.signing import sign_request
from unweave.ledger.signing_keys import read_signing_key
from unweave.ledger.states import END, FAIL, NOT_FORGOTTEN, START, STEP, after
from unweave.names import fault_of
from unweave.ranges import require_in_range
from unweave.temporary import remove_stale

OF_OPTIONS = "rapidun"
"""The method that options are of which name none."""

JUDGED, REPORTED = "judged", "reported"
REPORT = partial(write_certificate, name="report")

Step = Callable[[Job], dict[str, Path]]
Steps = Mapping[str, Step]
"""Name to what is done, in order; each returns the files that it left."""

STEPS: Steps = {
    "prepared": work.prepare,
    "measured before": work.measure_before,
    materials.STEP: materials.gather,
    "criteria named": name_criteria,
    "weighed": work.weigh,
    "forgotten": attempts.forget,
    "measured after": work.measure_after,
    JUDGED: judge_request,
    "store cleaned": work.clean_store,
    "certified": write_certificate,
}


def run_request(config: RunConfig, *, steps: Steps | None = None) -> dict[str, Any]:
    """Carry out a request, or repeat it elsewhere.

    Args:
        config: Which, and how.
        steps: What is done; by default `STEPS`.

    Returns:
        The certificate; with `replay`, whether the adapter came out the same.

    Raises:
        DataError: When the request was given up, or its rows have changed since.
        ConfigError: When the drift budget is used up, or a replay is to be signed.
    """
    require_in_range(config)
    if config.sign is None:
        return _run(config, steps)
    if config.replay is not None:
        raise ConfigError("A replay certifies nothing.", where="`sign`, `replay`", remedy="give one of the two")
    # Before hours of work.
    read_signing_key(config.sign, ledger=config.ledger)
    found = _run(replace(config, sign=None), steps)
    if Ledger(config.ledger).request(config.request).is_done:
        sign_request(SignConfig(request=config.request, ledger=config.ledger, sign=config.sign, key=config.key))
    else:
        progress.say("nothing is signed: the rows were not forgotten, and there is no certificate")
    return found


def _run(config: RunConfig, steps: Steps | None) -> dict[str, Any]:
    ledger = Ledger(config.ledger, key=config.key)
    # Where the key lies changes no result.
    config = replace(config, key=None)
    if config.replay is not None:
        return _replay(ledger, config)
    # Whoever verifies the request later may stand in another folder.
    named = {
        name: path.resolve()
        for name in ("forget_config", "holdout", "retain")
        if (path := getattr(config, name)) is not None
    }
    config = replace(config, **named)
    if config.method == AUTO and config.forget_config is not None:
        # Options of a method are that method's: its run says which.
        config = replace(config, method=read_value(config.forget_config, "method") or OF_OPTIONS)
    with alone(ledger):
        request = ledger.request(config.request)
        # An old ledger may hold what is no name: it is listed, and not carried out.
        if not request.is_done and (fault := fault_of(request.id)):
            raise ConfigError(
                f"The request's id is no name: {request.id!r} {fault}.",
                where=str(config.ledger),
                remedy="cancel it (`unweave request cancel`), and add its rows under a name",
            )
        folder = ledger.request_folder(request.id)
        if request.is_done:
            # A kill between the last event and the end of the run leaves the rows' texts behind.
            remove(folder / WORK)
            progress.say(f"request {request.id} is {request.state}, nothing to do")
            return read_json(folder / "certificate.json", what="The certificate")
        if after(request.state, START) is None:
            raise DataError(
                f"The request '{request.id}' was {request.state}.", remedy="add it anew, under another `request_id`"
            )
        ledger.require_key()
        job = Job(ledger, request, config, folder, ledger.model())
        if config.method == EXACT:
            require_exact(job)
            config = replace(config, method=RETRAIN)
            job = replace(job, config=config)
        report = folder / "report.json"
        # A kill at the start of another attempt leaves the event of this one without its report: it is made again.
        if request.state == NOT_FORGOTTEN and job.is_of(request.bound.started) and report.is_file():
            remove(folder / WORK)
            progress.say(f"request {request.id} was carried out with these options: {request.state}")
            return read_json(report, what="The report")
        _require_budget(job)
        try:
            found = _carry_out(job, steps or STEPS)
            left = steps is None and found.get("state") == NOT_FORGOTTEN
            return {**found, "answers": side_by_side(job)} if left else found
        finally:
            # However it ends: what is needed of the rows' texts when it goes on is made again.
            remove(job.work)


def _carry_out(job: Job, steps: Steps) -> dict[str, Any]:
    ledger, request, bound = job.ledger, job.request, job.bound()
    if not job.is_of(bound.started) or ledger.request(request.id).state == NOT_FORGOTTEN:
        if bound.started is not None:
            progress.say("the request is carried out with other options or inputs than before: starting over")
        bound = _begin(job)
    for name, step in steps.items():
        if name == REPORTED:
            continue  # In the place of all that follows `judged`, and only where the criteria are not met.
        if not _made(job, bound, name, step):
            return _over(job, steps)
        if name == JUDGED and not read_json(job.folder / VERDICT, what="The verdict")["forgotten"]:
            if not _made(job, bound, REPORTED, steps.get(REPORTED, REPORT)):
                return _over(job, steps)
            return _end(job, FAIL, "report")
    certificate = _end(job, END, "certificate", fields=("drift", "shown", "class"))
    if certificate["drift"]["retraining_due"]:
        progress.say("the drift budget is used up: retrain before the next request")
    return certificate


def _made(job: Job, bound: Bound, name: str, step: Step) -> bool:
    """Make a step, unless it is made and its files are as they were; false where they were lost and came out otherwise."""
    recorded = bound.steps[name].content["files"] if name in bound.steps else None
    if recorded is not None and _intact(job, recorded):
        return True
    progress.say(f"request {job.request.id}: {name}")
    files = step(job)
    digests = {key: [str(path.relative_to(job.folder)), _digest(job, path)] for key, path in files.items()}
    if recorded is None:
        job.ledger.record(STEP, job.request.id, step=name, files=digests)
    # What an event has bound stays bound: what comes out otherwise is another attempt.
    return recorded in (None, digests)


def _over(job: Job, steps: Steps) -> dict[str, Any]:
    progress.say("what a step had left was lost, and came out otherwise when made again: starting over")
    _begin(job)
    return _carry_out(Job(job.ledger, job.request, job.config, job.folder, job.before), steps)


def _end(job: Job, kind: str, name: str, *, fields: Sequence[str] = ()) -> dict[str, Any]:
    """End an attempt: the journal gets the digests of its last pages, and some of their fields."""
    remove_stale(job.folder)
    remove_stale(job.ledger.folder, below=False)
    found = read_json(job.folder / f"{name}.json", what=f"The {name}")
    pages = {name: file_digest(job.folder / f"{name}.json"), "page": file_digest(job.folder / f"{name}.html")}
    job.ledger.record(kind, job.request.id, **pages, **{key: found[key] for key in fields})
    return found


def _begin(job: Job) -> Bound:
    """Begin an attempt, with nothing of an earlier one left."""
    remove(job.folder)
    job.ledger.record(START, job.request.id, **job.started)
    return job.bound()


def remove(folder: Path) -> None:
    """Remove a folder of the ledger, if it is there.

    Args:
        folder: The folder.

    Raises:
        DataError: When something of it stays.
    """
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        raise DataError(
            f"The folder can't be removed, and may hold texts of rows: {error.strerror}.",
            where=str(folder),
            remedy="remove it, then run again",
        ) from error


def _intact(job: Job, files: dict[str, list[str]]) -> bool:
    return all(
        (job.folder / name).is_file() and _digest(job, job.folder / name) == digest for name, digest in files.values()
    )


def _digest(job: Job, path: Path) -> str:
    """What the journal says of a file; those that hold texts of rows are hashed with the key."""
    digest = file_digest(path)
    return job.ledger.hidden(digest, purpose="file") if path.is_relative_to(job.work) else digest


def _require_budget(job: Job) -> None:
    reason = drift_used_up(job.ledger.carried_out())
    if reason is not None and not job.config.over_budget and not may_retrain(job):
        raise ConfigError(
            f"The drift budget is used up: {reason}.",
            where=str(job.ledger.folder),
            remedy="run this request with `method` retrain, or go on with `over_budget`",
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
    try:
        work.prepare(job)
        for name in WEIGHTS:
            if (original / name).is_file():
                shutil.copyfile(original / name, job.folder / name)
        attempts.repeat(job, original)
    finally:
        remove(job.work)
    own, other = (file_digest(work.weights_of(folder / "adapter")) for folder in (job.folder, original))
    return {"request": request.id, "folder": str(job.adapter), "same": own == other, "adapter": own, "original": other}
