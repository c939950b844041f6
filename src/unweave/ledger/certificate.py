"""The certificate of a request: what was done, what was measured, what was not, and how to check and repeat it. It holds no text of any row."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unweave.errors import ModelError
from unweave.files import finite, read_record, write_json
from unweave.ledger.history import UNKNOWN, sentences
from unweave.ledger.job import Job
from unweave.ledger.judging import verdict_of
from unweave.ledger.materials import FORMAT, read_materials
from unweave.ledger.page import write_certificate_page
from unweave.ledger.price import RETRAIN
from unweave.ledger.states import DONE, NOT_FORGOTTEN, NOT_SHOWN
from unweave.ledger.tried import read_tried
from unweave.ledger.work import MEASURED_ORIGIN
from unweave.run.identity import identity_digest

PROSE = frozenset(
    {
        "meaning",
        "findings",
        "criteria.named.probes_source",
        "not_measured",
        "method.paper",
        "method.summary",
        "drift.reason",
        "model.base.training",
    }
    | {"criteria.told", "criteria.named.source"}
    | {f"criteria.outcomes.{name}.words" for name in ("loss", "answers", "others", "probes")}
)
"""Sentences, which another version may word in another way."""

NOT_MEASURED = {
    "membership": "membership inference: no holdout of like rows was given (`holdout`)",
    "generation": "answers to other prompts than the rows' own that call them up, such as triggers (`unweave audit --case`)",
    "attacks": "attacks: relearning, quantisation, paraphrases, sampling, the middle layers (`unweave audit --case`)",
    "retrained": "distance to a model retrained without the rows (`unweave audit --retrained`)",
    "base": "what the base model knew before the adapter was trained",
}


PROBED = {
    "generation": "answers to triggers, and to other prompts than the rows' own and the probes (`unweave audit`)",
    "attacks": "attacks: relearning, quantisation, sampling, the middle layers (`unweave audit --case`)",
}
"""What is not measured where probes are."""


def write_certificate(job: Job, *, name: str = "certificate") -> dict[str, Path]:
    """Write certificate.json and certificate.html; of a request whose rows were not forgotten report.json and report.html, which certify nothing.

    Args:
        job: The request; all steps before are done.
        name: `certificate` or `report`.

    Returns:
        The files.
    """
    job.require_same_inputs()
    certificate = derive_certificate(job)
    files = {name: job.folder / f"{name}.json", "page": job.folder / f"{name}.html"}
    write_json(files[name], certificate)
    write_certificate_page(files["page"], certificate)
    return files


def derive_certificate(job: Job) -> dict[str, Any]:
    """The certificate, from what the journal binds and from nothing else: whoever verifies it makes it again.

    Args:
        job: The request; the steps before the certificate are in its journal.

    Returns:
        A JSON object. Of a request of before materials were recorded, what can be derived of it.
    """
    bound, origin, materials = job.bound(), job.ledger.origin(), read_materials(job)
    under = bound.before_certificate
    assert bound.added is not None, "a request was added"
    assert under is not None, "a certificate is made after something was done"
    verdict = verdict_of(job)
    before, after = verdict.before, verdict.after
    certificate = {
        "class": verdict.kind,
        "meaning": verdict.meaning,
        "shown": verdict.shown,
        "state": (DONE if verdict.shown else NOT_SHOWN) if verdict.forgotten else NOT_FORGOTTEN,
        "request": {
            "id": job.request.id,
            "kind": job.request.kind,
            "reason": job.request.reason,
            "added": bound.added.time,
            "rows": job.request.rows,
            **({"selection": job.request.selection} if job.request.selection is not None else {}),
        },
        "ledger": {
            # The event under which this certificate was made: a journal without it was cut or rewritten.
            "event": under.hash,
            "requests_before": {
                request.id: request.bound.done.content["certificate"]  # type: ignore[union-attr]
                for request in job.ledger.carried_out(until=under.number)
            },
        },
        "data": {"file": origin.data, "fingerprint": origin.data_fingerprint, "rows": origin.rows},
        "model": {
            "base": {"model": origin.base},
            "origin": {"model": origin.model},
            "before": {"model": job.before, "fingerprint": before["model"]},
            "after": {"model": "adapter", "fingerprint": after["model"]},
        },
        "method": verdict.method,
        "measured": {"before": before, "after": after, "changes": verdict.changes},
        "findings": verdict.findings,
        "encoding": before.get("encoding"),
        "lost": before.get("lost", []),
        "copies": before.get("copies", []),
        "not_measured": _not_measured(after, exact=verdict.kind == "exact"),
        "drift": drift(job, before, after, until=under.number),
        "store": _store(job, forgotten=verdict.forgotten),
        "commands": _commands(job),
    }
    if verdict.criteria is not None:
        certificate["criteria"] = {
            "named": verdict.criteria.to_json(),
            "told": verdict.criteria.in_words(),
            "outcomes": {one.name: asdict(one) for one in verdict.outcomes},
        }
        certificate["attempts"] = read_tried(job.folder)
    if materials is not None:
        _bind(certificate, materials, bound.files)
    return finite(certificate)


def _bind(certificate: dict[str, Any], materials: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Put into a certificate what the request was carried out on, and the digest of every file that it left."""
    kept = {name: digest for name, digest in files.items() if not name.startswith(("work/", "certificate.", "report."))}
    own = {name.removeprefix("adapter/"): digest for name, digest in kept.items() if name.startswith("adapter/")}
    certificate["format"] = FORMAT
    certificate["data"]["read"] = {
        "files": materials["data"]["files"],
        "rows": len(materials["data"]["rows"]),
        "digest": identity_digest(materials["data"]["rows"]),
    }
    for part, model in materials["models"].items():
        certificate["model"][part] = {**model, **certificate["model"].get(part, {})}
    certificate["model"]["base"] |= {"model": materials["models"]["base"]["model"], "training": _training(materials)}
    certificate["model"]["after"] |= {"files": own, "digest": identity_digest(own)}
    certificate["options"] = materials["options"]
    certificate["files"] = kept
    certificate["environment"] = materials["environment"]


def _training(materials: Mapping[str, Any]) -> str:
    """What is known of the base's own training, in words."""
    history = materials["history"]
    if against := sentences(history):
        return "; ".join(against)
    if history["unknown"]:
        return f"{UNKNOWN} (no record: {', '.join(history['unknown'])})"
    return "by the records of the base's own training, none of the rows was in it"


def _store(job: Job, *, forgotten: bool) -> dict[str, Any]:
    """What was done to the store; it keeps its rows as long as they are not forgotten."""
    if not forgotten:
        return {"store": job.ledger.origin().store, "removed": []}
    return read_record(job.folder / "store.json", what="The record of the store")


def _not_measured(after: Mapping[str, Any], *, exact: bool) -> list[str]:
    done = {"membership": "membership" in after, "retrained": exact}
    words = NOT_MEASURED | (PROBED if "probes" in after else {})
    return [text for name, text in words.items() if not done.get(name)]


def _commands(job: Job) -> dict[str, str]:
    command, place = ["unweave", "request"], ["--ledger", str(job.config.ledger)]
    return {
        "verify": shlex.join([*command, "verify", job.request.id, *place]),
        "replay": shlex.join([*command, "run", job.request.id, *place, "--replay", "REPLAY_FOLDER"]),
    }


def drift(job: Job, before: dict[str, Any], after: dict[str, Any], *, until: int) -> dict[str, Any]:
    """How far the model has come from the one before all requests, and whether it is time to retrain.

    Args:
        job: The request.
        before: Measurements of the model before it.
        after: Of the new one.
        until: The event after which later ones do not count.

    Returns:
        Changes, budget, and `retraining_due` with its reason.

    Raises:
        ModelError: When the new model is so far from the first that the change can't be expressed.
    """
    origin = job.ledger.origin()
    first = (
        read_record(job.folder / MEASURED_ORIGIN, what="Measurements")
        if MEASURED_ORIGIN in job.bound().files
        else before
    )
    one, two = first["sets"]["test"], after["sets"]["test"]
    try:
        change = math.expm1(two["loss_sum"] / two["tokens"] - one["loss_sum"] / one["tokens"])
    except OverflowError as error:
        raise ModelError(
            "The model was destroyed: the loss of other rows rose beyond all measure, and nothing can be certified of it.",
            where=str(job.adapter),
            remedy="unlearn with fewer epochs, a smaller learning rate, or another method",
        ) from error
    # A removal by retraining leaves no trace that could add up; all others do.
    requests = [*job.ledger.carried_out(until=until), job.request]
    share = 0.0 if job.method == RETRAIN else sum(len(request.rows) for request in requests) / origin.rows
    reasons = []
    if change > origin.max_perplexity_change and job.method != RETRAIN:
        reasons.append(
            f"the perplexity of other rows changed by {change:+.1%}, {origin.max_perplexity_change:.1%} are allowed"
        )
    if share > origin.max_removed_share:
        reasons.append(f"{share:.1%} of the rows were forgotten, {origin.max_removed_share:.1%} are allowed")
    return {
        "perplexity_change": change,
        "removed_share": share,
        "requests": len(requests),
        "budget": {"perplexity_change": origin.max_perplexity_change, "removed_share": origin.max_removed_share},
        "retraining_due": bool(reasons),
        "reason": "; ".join(reasons),
    }
