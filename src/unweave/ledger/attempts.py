"""Carrying a request out until it is forgotten: attempts, each judged by the criteria, from what is cheap to training again.

A method's rate is searched for. Too high a rate harms other rows before the target is reached, too low a one does not reach it: each attempt ends at the
target, or where the rows to keep have lost more than the margin, and says in which direction to go on. Attempts that are not retraining may take half of
what retraining takes: then it is cheaper to retrain, which always meets what it can. What was tried is kept with its figures: choosing among attempts by
the rows on which they are judged favors the chosen one a little, and whoever reads the certificate sees of how many it is the best.

Whoever follows the command may stop it (`unweave.events`): the attempt ends with its best step, and is judged as it is.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unweave import events, progress
from unweave.digests import all_files
from unweave.errors import TrainingError
from unweave.files import read_record, write_json
from unweave.ledger.criteria import Criteria, outcomes, read_criteria, read_reference
from unweave.ledger.job import Job
from unweave.ledger.making import Attempt, make
from unweave.ledger.measuring import MEASURED_AFTER, measured_by
from unweave.ledger.price import AUTO, BATCH, RETRAIN, STEPS, sharded_recipe
from unweave.ledger.records import hide_identity, is_made
from unweave.ledger.tokens import MEASURED
from unweave.ledger.tried import FILE, Tried, chosen_attempt, read_tried
from unweave.run.folder import RESULT
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import Objective, get_method
from unweave.unlearning.outcome import FASTER, SLOWER

FOLDER = "attempts"
REMOVAL = ("wga", "npo")
"""Methods that `auto` tries one after the other to remove rows."""

ANEW = ("rapidun",)
"""The same where rows or answers are put in the place of others: it learns these meanwhile."""

RATES = 3
"""Rates of a method that are tried, at most."""

SHARE = 0.5
"""Share of retraining's price that other attempts may take together."""

EVERY, CHECKED = 5, 24
RATIO = 3.0
"""Rows to keep for each row to forget."""

PASSES = 3.0
"""How often an attempt sees each row to forget, at least."""


@dataclass(frozen=True)
class Plan:
    """What may be tried.

    Attributes:
        methods: In their order.
        rates: Method to the rate that is tried first; a method that is not in it is tried once, as it is.
        options: Options of every attempt of a method that has a rate.
        retraining: Seconds that training again takes, by estimate; `None` where it is no resort.
        attempt: Seconds that another attempt takes, by estimate.
        limit: Seconds for all.
    """

    methods: tuple[str, ...]
    rates: dict[str, float]
    options: dict[str, Any]
    retraining: float | None
    attempt: float
    limit: float


def next_attempt(plan: Plan, tried: Sequence[Tried]) -> Attempt | None:
    """What to try next.

    Args:
        plan: What may be tried.
        tried: What was.

    Returns:
        The attempt; `None` where the last one met all criteria, nothing is left, or the time is.
    """
    if tried and not tried[-1].unmet:
        return None
    spent = sum(one.seconds for one in tried)
    budget = plan.limit if plan.retraining is None else min(plan.limit, SHARE * plan.retraining)
    # The first attempt of all is made whatever it takes: without it nothing would be.
    for method in plan.methods:
        own = [one for one in tried if one.method == method]
        attempt = _of_method(plan, method, own)
        if attempt is not None and (not tried or spent + plan.attempt <= budget):
            return attempt
    if plan.retraining is None or any(one.method == RETRAIN for one in tried):
        return None
    return Attempt(RETRAIN) if not tried or spent + plan.retraining <= plan.limit else None


def _of_method(plan: Plan, method: str, own: Sequence[Tried]) -> Attempt | None:
    if method not in plan.rates:
        return None if own else Attempt(method, dict(plan.options))
    if len(own) >= RATES:
        return None
    rate = plan.rates[method]
    if own:
        last, rates = own[-1], [one.options["learning_rate"] for one in own]
        too_much = last.failed or "others" in last.unmet or (last.reason or "").startswith("diverged")
        rate = _slower(rates) if too_much else _faster(rates)
    return Attempt(method, {**plan.options, "learning_rate": rate})


def _slower(rates: Sequence[float]) -> float:
    """A rate below the last one: halfway, by their ratio, to the next lower that did too little."""
    lower = [rate for rate in rates if rate < rates[-1]]
    return (rates[-1] * max(lower)) ** 0.5 if lower else rates[-1] * SLOWER


def _faster(rates: Sequence[float]) -> float:
    """A rate above the last one: halfway, by their ratio, to the next higher that did too much."""
    higher = [rate for rate in rates if rate > rates[-1]]
    return (rates[-1] * min(higher)) ** 0.5 if higher else rates[-1] * FASTER


def plan_of(job: Job, criteria: Criteria, before: Mapping[str, Any], rows: int) -> Plan:
    """What may be tried for a request.

    Args:
        job: The request.
        criteria: What was named.
        before: Measurements of the model before.
        rows: Rows to forget and to keep.

    Returns:
        The plan.
    """
    config = job.config
    retraining = None if criteria.minutes.retraining is None else 60 * criteria.minutes.retraining
    if config.method != AUTO:
        methods, retraining = (config.method,), None
    elif retraining is not None and job.drift_is_used_up and not config.over_budget:
        methods = ()
    elif retraining is not None and retraining <= 60 * criteria.minutes.attempt and sharded_recipe(job) is not None:
        # What is exact comes first where it is no dearer: few stages of a training in shards saw the rows.
        methods = ()
    else:
        methods = REMOVAL if job.request.kind == "removal" else ANEW
    rates, options = {}, {}
    if config.forget_config is None:
        # A method's own rate is for rows that nothing else must be like; here other rows come first.
        rates = {
            name: SLOWER * config_of(name).learning_rate for name in methods if issubclass(get_method(name), Objective)
        }
        options = _options(job, criteria, before, rows) if rates else {}
    return Plan(methods, rates, options, retraining, 60 * criteria.minutes.attempt, 60 * config.max_minutes)


def _options(job: Job, criteria: Criteria, before: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Options of attempts with a rate: so many steps, evaluated on the way, up to the target."""
    forget = criteria.rows
    once = (1 + RATIO) * forget / BATCH
    steps = max(STEPS, round(PASSES * once))
    now = sum(before["sets"]["forget"]["losses"].values()) / forget
    reached = criteria.target is None or now >= criteria.target
    removes = job.request.kind == "removal"
    if reached and removes:
        # Rows that are there already are taken a step away all the same.
        steps = min(steps, max(1, round(once)))
    return {
        "batch_size": BATCH,
        "epochs": steps * BATCH / rows,
        "retain_ratio": RATIO,
        "lr_scheduler": "constant",
        "check_every": EVERY,
        "check_rows": CHECKED,
        # What is new has to be learned, whatever became of the old.
        "target_loss": criteria.target if removes and not reached else None,
        "max_retain_increase": criteria.margin,
    }


def forget(job: Job) -> dict[str, Path]:
    """Make the new adapter.

    Args:
        job: The request.

    Returns:
        All files of its folder, since whoever loads it reads more than its weights, and what was tried.
    """
    if not is_made(job):
        before = read_tried(job.folder)
        if before and not (job.adapter.is_dir() or _place(job, before["chosen"]).is_dir()):
            (job.folder / FILE).unlink()
        tried, chosen = _tries(job)
        if not job.adapter.is_dir():
            _place(job, chosen).rename(job.adapter)
        kept = _place(job, chosen).with_suffix(".json")
        if kept.is_file():
            kept.replace(job.folder / MEASURED_AFTER)
        hide_identity(job)
        shutil.rmtree(job.folder / FOLDER, ignore_errors=True)
        progress.say(f"kept: {Attempt(tried[chosen].method, tried[chosen].options).in_words()}")
    return {path.relative_to(job.adapter).as_posix(): path for path in all_files(job.adapter)} | {
        FILE: job.folder / FILE
    }


def _tries(job: Job) -> tuple[list[Tried], int]:
    """Try until the criteria are met, or nothing is left to try.

    Args:
        job: The request.

    Returns:
        What was tried, and which is kept.

    Raises:
        TrainingError: When no attempt left a model.
    """
    criteria = read_criteria(job.folder)
    assert criteria is not None, "criteria are named before anything is tried"
    before = read_record(job.folder / MEASURED, what="Measurements")
    reference = read_reference(job.folder)
    plan = plan_of(job, criteria, before, _lines(job.work / "forget.jsonl") + _lines(job.work / "retain.jsonl"))
    tried = [Tried(**one) for one in (read_tried(job.folder) or {"tried": []})["tried"]]
    error: TrainingError | None = None
    while (attempt := next_attempt(plan, tried)) is not None:
        if tried and events.stop_is_asked():
            progress.say("no further attempt is begun: the request was stopped by hand")
            break
        progress.say(f"attempt {len(tried) + 1}: {attempt.in_words()}")
        started, folder = time.monotonic(), _place(job, len(tried))
        try:
            make(job, attempt, folder)
            found = measured_by(job, str(folder), keep=folder.with_suffix(".json"))
            outs = outcomes(criteria, before, found, reference)
            figures, reason = {one.name: one.after for one in outs}, _reason(folder)
        except TrainingError as failed:
            error, outs, figures, reason = failed, [], {}, failed.sentence
        unmet = [one.name for one in outs if not one.met] if outs else ["no model"]
        tried.append(Tried(attempt.method, attempt.options, time.monotonic() - started, figures, unmet, reason))
        write_json(job.folder / FILE, {"tried": [asdict(one) for one in tried], "chosen": _best(tried, criteria)})
        for one in outs:
            progress.say(f"  {one.words}{'' if one.met else ': not met'}")
    if all(one.failed for one in tried):
        raise error or TrainingError("No attempt left a model.", remedy="give another `method`, or more `max_minutes`")
    return tried, _best(tried, criteria)


def _best(tried: Sequence[Tried], criteria: Criteria) -> int:
    """The attempt to keep: one that meets all criteria, or retraining, or the one that misses fewest, of these the nearest to the target."""

    def rank(index: int) -> tuple[float, ...]:
        one = tried[index]
        least = criteria.least or 0.0
        short = max(0.0, least - one.figures.get("loss", least)) if one.figures else float("inf")
        # Retraining without the rows is what all others imitate: it is kept though chance may miss a criterion.
        missed = 0.5 if one.method == RETRAIN and one.unmet and one.figures else float(len(one.unmet))
        return (float(one.failed), missed, short, one.figures.get("answers", 0.0))

    return min(range(len(tried)), key=rank)


def _reason(folder: Path) -> str | None:
    return read_record(folder / RESULT, what="The result of the run")["result"].get("stopped")


def _place(job: Job, index: int) -> Path:
    return job.folder / FOLDER / str(index)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def repeat(job: Job, original: Path) -> None:
    """Make the adapter of a request again, as it was made.

    Args:
        job: The request, in the folder of its replay.
        original: The request's folder.
    """
    one = chosen_attempt(original)
    make(job, Attempt(one.method, one.options) if one else Attempt(job.config.method), job.adapter)
