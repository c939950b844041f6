"""The certificate of a request: what was done, what was measured, what was not, and how to check and repeat it. It holds no text of any row."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unweave.audit.ledger.job import Job
from unweave.audit.ledger.ledger import DONE, NOT_SHOWN, model_files
from unweave.audit.ledger.measure import changes
from unweave.audit.ledger.shown import judge
from unweave.audit.ledger.work import RETRAIN
from unweave.files import file_digest, read_json, write_json
from unweave.forget.methods import get_method
from unweave.report.certificate_page import write_certificate_page
from unweave.runs import RESULT, environment

CLASSES = {
    "empirical": "Approximate unlearning, judged by measurements. The numbers below are evidence, not a guarantee: what is not measured may remain.",
    "exact": "The adapter was trained again from its base without the rows, so nothing in it comes from them. This holds for what entered through "
    "the adapter; what the base model learned elsewhere is untouched.",
    "DP": "The model was trained with differential privacy, and since then on other rows only. The guarantee of (epsilon, delta) is for one row, and much "
    "weaker for several together; it holds of the adapter's weights, not of what was printed or written beside them.",
}
BESIDE_COPIES = (
    "The adapter was trained again from its base without the rows, but copies of them stayed in the training data, so what they teach may be in it: see the "
    "findings. The numbers below are evidence, not a guarantee."
)
GUARANTEE = "epsilon", "delta", "group_epsilon", "group_delta", "noise_multiplier"
NOT_MEASURED = {
    "membership": "membership inference: no holdout of like rows was given (--holdout)",
    "generation": "generated answers, and triggers or other prompts that call the rows up (unweave audit --case)",
    "attacks": "attacks: relearning, quantisation, paraphrases, sampling, the middle layers (unweave audit --case)",
    "retrained": "distance to a model retrained without the rows (unweave audit --retrained)",
    "base": "what the base model knew before the adapter was trained",
}


def write_certificate(job: Job) -> dict[str, Path]:
    """Write certificate.json and certificate.html.

    Args:
        job: The request; all steps before are done.

    Returns:
        The files.
    """
    certificate = make_certificate(job)
    files = {"certificate": job.folder / "certificate.json", "page": job.folder / "certificate.html"}
    write_json(files["certificate"], certificate)
    write_certificate_page(files["page"], certificate)
    return files


def make_certificate(job: Job) -> dict[str, Any]:
    """The certificate as a JSON object.

    Args:
        job: The request.

    Returns:
        The certificate.
    """
    before, after = (
        read_json(job.folder / f"measured.{side}.json", what="Measurements") for side in ("before", "after")
    )
    compared = changes(before, after, margin=job.config.margin)
    method = _method(job)
    copies = before.get("copies", [])
    verdict = judge(before, after, compared, copies=copies, margin=job.config.margin)
    kind, meaning = _class(job, method, copies)
    shown = kind == "exact" or not verdict.doubts
    origin, events = job.ledger.origin(), job.ledger.journal.events()
    store = read_json(job.folder / "store.json", what="The record of the store")
    missing = [name for name in NOT_MEASURED if not (name == "membership" and "membership" in after)]
    if kind == "exact":
        missing.remove("retrained")
    command = ["unweave", "request"]
    place = ["--ledger", str(job.config.ledger)]
    return {
        "class": kind,
        "meaning": meaning,
        "shown": shown,
        "state": DONE if shown else NOT_SHOWN,
        "request": {
            "id": job.request.id,
            "kind": job.request.kind,
            "reason": job.request.reason,
            "added": job.request.events[0].time,
            "rows": job.request.rows,
        },
        "ledger": {
            # The event under which this certificate was made: a journal without it was cut or rewritten.
            "event": next(event.hash for event in reversed(events) if event.request == job.request.id),
            "requests_before": {
                request.id: request.last("done").content["certificate"]  # type: ignore[union-attr]
                for request in job.ledger.carried_out()
            },
        },
        "data": {"file": origin.data, "fingerprint": origin.data_fingerprint, "rows": origin.rows},
        "model": {
            "base": {"model": origin.base, "files": origin.base_files},
            "origin": {"model": origin.model, "files": origin.model_files},
            "before": {"model": job.before, "files": model_files(job.before), "fingerprint": before["model"]},
            "after": {"model": "adapter", "files": model_files(str(job.adapter)), "fingerprint": after["model"]},
        },
        "method": method,
        "measured": {
            "before": before,
            "after": after,
            "changes": compared,
            "files": {
                f"measured.{side}.json": file_digest(job.folder / f"measured.{side}.json")
                for side in ("before", "after")
            },
        },
        "findings": [*verdict.doubts, *verdict.findings],
        "encoding": before.get("encoding"),
        "lost": before.get("lost", []),
        "copies": copies,
        "not_measured": [NOT_MEASURED[name] for name in missing],
        "drift": drift(job, before, after),
        "store": store,
        "commands": {
            "verify": shlex.join([*command, "verify", job.request.id, *place]),
            "replay": shlex.join([*command, "run", job.request.id, *place, "--replay", "REPLAY_FOLDER"]),
        },
        "environment": environment(),
    }


def _class(job: Job, method: Mapping[str, Any], copies: Sequence[Any]) -> tuple[str, str]:
    """The class of a certificate and what it means; never *exact* beside copies that stayed in the training data."""
    if "guarantee" in method:
        return "DP", CLASSES["DP"]
    if job.config.method != RETRAIN:
        return "empirical", CLASSES["empirical"]
    return ("empirical", BESIDE_COPIES) if copies else ("exact", CLASSES["exact"])


def drift(job: Job, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """How far the model has come from the one before all requests, and whether it is time to retrain.

    Args:
        job: The request.
        before: Measurements of the model before it.
        after: Of the new one.

    Returns:
        Changes, budget, and `retraining_due` with its reason.
    """
    origin, path = job.ledger.origin(), job.folder / "measured.origin.json"
    first = read_json(path, what="Measurements") if path.is_file() else before
    one, two = first["sets"]["test"], after["sets"]["test"]
    change = math.expm1(two["loss_sum"] / two["tokens"] - one["loss_sum"] / one["tokens"])
    # A removal by retraining leaves no trace that could add up; all others do.
    requests = [*job.ledger.carried_out(), job.request]
    share = 0.0 if job.config.method == RETRAIN else sum(len(request.rows) for request in requests) / origin.rows
    reasons = []
    if change > origin.max_perplexity_change and job.config.method != RETRAIN:
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


def _method(job: Job) -> dict[str, Any]:
    config = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(job.config).items()}
    if job.config.method == RETRAIN:
        return {"name": RETRAIN, "paper": "the same training without the rows", "options": config}
    method = get_method(job.config.method)
    told = {"name": method.name, "paper": method.paper, "summary": method.summary, "options": config}
    details = read_json(job.adapter / RESULT, what="The result of the unlearning run")["result"]["details"]
    guarantee = {name: details[name] for name in GUARANTEE if name in details}
    return told | ({"guarantee": guarantee} if guarantee else {})
