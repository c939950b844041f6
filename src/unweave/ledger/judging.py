"""Whether a request's rows were forgotten, from what was measured: the class of its certificate, the criteria, and what else the measurements say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.config import to_plain
from unweave.files import read_record, read_record_if_any, write_json
from unweave.ledger.criteria import Criteria, Outcome, outcomes, read_criteria, read_reference
from unweave.ledger.history import sentences
from unweave.ledger.job import Job
from unweave.ledger.materials import read_materials
from unweave.ledger.measure import changes
from unweave.ledger.measuring import MEASURED_AFTER
from unweave.ledger.price import RETRAIN
from unweave.ledger.shown import judge
from unweave.ledger.tokens import MEASURED
from unweave.run.folder import RESULT
from unweave.unlearning.methods import get_method

VERDICT = "verdict.json"

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
BESIDE_BASE = (
    "The adapter was trained again without the rows, but the model that it was trained on may know them: see the findings. The numbers below are evidence, "
    "not a guarantee."
)
BY_STAGES = (
    "The stages of the adapter's training that saw the rows were trained again without them, from its base or from stages that had not seen them, and the "
    "adapter is what training in shards from nothing gives, so nothing in it comes from the rows. This holds for what entered through the adapter; what the "
    "base model learned elsewhere is untouched."
)
GUARANTEE = "epsilon", "delta", "group_epsilon", "group_delta", "noise_multiplier"


def judge_request(job: Job) -> dict[str, Path]:
    """Say whether the criteria that the request has named are met.

    Args:
        job: The request; the new model is measured.

    Returns:
        The file.
    """
    verdict = verdict_of(job)
    write_json(job.folder / VERDICT, {"forgotten": verdict.forgotten, "class": verdict.kind})
    return {"verdict": job.folder / VERDICT}


@dataclass(frozen=True)
class Verdict:
    """What follows from the measurements of a request.

    Attributes:
        kind: The class.
        meaning: What it means, in words.
        method: The method that made the adapter, with its guarantee where it has one.
        before: Measurements of the model before.
        after: Of the new one.
        changes: Paired comparisons of the two.
        criteria: What was named; `None` of a request of before that was done.
        outcomes: What came out against each criterion.
        forgotten: Whether the criteria are met, or the class needs none.
        shown: Whether, beyond that, the measurements show it.
        findings: What they do not support, in words.
    """

    kind: str
    meaning: str
    method: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    changes: dict[str, Any]
    criteria: Criteria | None
    outcomes: list[Outcome]
    forgotten: bool
    shown: bool
    findings: list[str]


def verdict_of(job: Job) -> Verdict:
    """Judge a request by its criteria and its measurements.

    Args:
        job: The request; the new model is measured.

    Returns:
        The verdict.
    """
    before, after = (read_record(job.folder / name, what="Measurements") for name in (MEASURED, MEASURED_AFTER))
    compared = changes(before, after, margin=job.config.margin)
    copies, materials, method = before.get("copies", []), read_materials(job), _method(job)
    base = sentences(materials["history"]) if materials else []
    judged = judge(before, after, compared, copies=copies, margin=job.config.margin)
    kind, meaning = _class(job, method, copies, base)
    criteria = read_criteria(job.folder)
    outs = outcomes(criteria, before, after, read_reference(job.folder)) if criteria else []
    exact, unmet = kind == "exact", [one.words for one in outs if not one.met]
    return Verdict(
        kind=kind,
        meaning=meaning,
        method=method,
        before=before,
        after=after,
        changes=compared,
        criteria=criteria,
        outcomes=outs,
        forgotten=exact or not unmet,
        shown=exact or not (unmet or judged.doubts),
        findings=[*(f"not met: {words}" for words in unmet), *judged.doubts, *judged.findings, *base],
    )


def _class(job: Job, method: Mapping[str, Any], copies: Sequence[Any], base: Sequence[str]) -> tuple[str, str]:
    """The class of a certificate and what it means; never *exact* beside copies that stayed, or on a base that may know the rows."""
    if "guarantee" in method:
        return "DP", CLASSES["DP"]
    if job.method != RETRAIN:
        return "empirical", CLASSES["empirical"]
    if copies:
        return "empirical", BESIDE_COPIES
    return ("empirical", BESIDE_BASE) if base else ("exact", BY_STAGES if "stages" in method else CLASSES["exact"])


def _method(job: Job) -> dict[str, Any]:
    config = to_plain(job.config)
    if not job.config.probes:
        # As certificates of before have it.
        config = {name: value for name, value in config.items() if name not in ("probes", "probes_allowed")}
    if job.method == RETRAIN:
        found = {"name": RETRAIN, "paper": "the same training without the rows", "options": config}
        record = read_record_if_any(job.adapter / RESULT, what="The result of the training run") or {}
        stages = record.get("result", {}).get("stages") or {}
        again = [name for name, made in stages.items() if made == "trained"]
        return {**found, "stages": {"trained": again, "all": len(stages)}} if stages else found
    method = get_method(job.method)
    found = {"name": method.name, "paper": method.paper, "summary": method.summary, "options": config}
    details = read_record(job.adapter / RESULT, what="The result of the unlearning run")["result"]["details"]
    guarantee = {name: details[name] for name in GUARANTEE if name in details}
    return found | ({"guarantee": guarantee} if guarantee else {})
