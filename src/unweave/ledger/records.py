"""What the run that made an adapter has written of the rows that it read: digests of them, which could be guessed, become the ledger's."""

import json
from pathlib import Path
from typing import Any

from unweave.files import read_record, write_json
from unweave.ledger.job import Job
from unweave.outputs import SHARDS, STAGE
from unweave.run.folder import RESULT

RUN, EVALUATIONS = "run.json", "watch.json"
KEYED = "keyed"


def hide_identity(job: Job) -> None:
    """Put hashes made with the ledger's key in the place of those in the records of the adapter's run.

    Args:
        job: The request; its adapter is made.
    """
    if job.ledger.key is None:
        return
    mark = _mark(job)
    run = read_record(job.adapter / RUN, what="The record of the run")
    rows = run.get("rows")
    if isinstance(rows, dict) and run.get("identity") != mark:
        rows["fingerprint"] = job.ledger.hidden(str(rows.get("fingerprint")), purpose="rows")
    write_json(job.adapter / RUN, {**run, "identity": mark, "rows": rows})
    if (job.adapter / EVALUATIONS).is_file():
        evaluations = read_record(job.adapter / EVALUATIONS, what="The record of evaluations during unlearning")
        write_json(job.adapter / EVALUATIONS, {**evaluations, "fingerprint": mark})
    for path in job.adapter.glob(f"{SHARDS}/*/*/{STAGE}"):
        stage = read_record(path, what="The record of a stage")
        write_json(path, {**stage, "identity": hidden_stage(job, stage["identity"])})
    result = _result(job.adapter)
    # Last: this is what says that it is done.
    write_json(job.adapter / RESULT, {**result, "identity": {KEYED: mark}})


def hidden_stage(job: Job, identity: str) -> str:
    """What a ledger calls a stage of a training in shards.

    Args:
        job: The request.
        identity: The stage's identity, which has a digest of rows in it; or what the ledger calls it already.

    Returns:
        A name made with the ledger's key; without a key the identity.
    """
    if job.ledger.key is None or identity.startswith(f"{KEYED}:"):
        return identity
    return f"{KEYED}:{job.ledger.hidden(identity, purpose='stage')}"


def is_made(job: Job) -> bool:
    """Whether the adapter of this very attempt is made, and its records are hidden.

    Args:
        job: The request.

    Returns:
        The answer.
    """
    if job.ledger.key is None or not (job.adapter / RESULT).is_file():
        return False
    return _result(job.adapter).get("identity") == {KEYED: _mark(job)} and any(job.adapter.glob("*.safetensors"))


def _result(adapter: Path) -> dict[str, Any]:
    return read_record(adapter / RESULT, what="The result of the run")


def _mark(job: Job) -> str:
    """What the attempt is of, in the ledger's terms."""
    return job.ledger.hidden(json.dumps(job.started, sort_keys=True), purpose="inputs")
