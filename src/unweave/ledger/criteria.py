"""What forgotten would look like, named before anything is done, and whether what came out looks like it.

Three criteria, and where it is asked for a fourth. The rows' mean loss is at least nine tenths of what a model that never saw them has. Of the answers to
their own prompts no more begin as the rows do than one in twenty, or than that model's do. The mean loss of other rows rose by no more than the margin. Of
other questions (`--probes`) no more give a row away than are allowed, or than the upper bound of that model's.

A model that never saw the rows is the base under the adapter, unless its records say that it did. Where like rows that were never trained on are given,
their loss under the model before says more: what training taught of their kind is in it. With both, rows may differ in how hard they are (difficulty
calibration, Watson et al., ICLR 2022, arXiv 2111.08440): a line from the held-out rows' losses under the base to those under the model gives the target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from unweave import progress
from unweave.evaluation.verdict import LEFT, NEAR
from unweave.files import read_record, read_record_if_any, write_json
from unweave.ledger.job import Job
from unweave.ledger.materials import FILE as MATERIALS
from unweave.ledger.measure import measure
from unweave.ledger.measuring import never_trained, work_sets
from unweave.ledger.price import Price, price_of
from unweave.ledger.probing import asked_and_leaked, of_criterion
from unweave.ledger.tokens import MEASURED, encoding_of
from unweave.stats.intervals import share
from unweave.unlearning.outcome import BEGINS
from unweave.unlearning.target import FEWEST, calibrated

FILE = "criteria.json"
MEASURED_REFERENCE = "measured.reference.json"


@dataclass(frozen=True)
class Criteria:
    """What was named before a request was carried out.

    Attributes:
        target: The rows' mean loss under a model that never saw them, nats a token; `None` where nothing says.
        least: The loss from which on they count as forgotten.
        source: Where the target comes from, in words.
        begins: How many of their answers may begin as the rows do.
        rows: How many rows there are.
        margin: The largest rise of other rows' mean loss, nats a token.
        reference: The model that never saw them, or `None`.
        minutes: What attempts take, by estimate.
        probes: Families of other questions that count.
        probes_asked: How many of them are asked.
        probes_allowed: How many may give a row away.
        probes_source: Where that comes from, in words.
    """

    target: float | None
    least: float | None
    source: str
    begins: int
    rows: int
    margin: float
    reference: str | None
    minutes: Price
    probes: Sequence[str] = ()
    probes_asked: int = 0
    probes_allowed: int = 0
    probes_source: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: without probes as certificates of before had it."""
        own = asdict(self)
        return own if self.probes else {name: value for name, value in own.items() if not name.startswith("probes")}

    def in_words(self) -> list[str]:
        """The criteria in words."""
        lines = [f"of {self.rows} answers at most {self.begins} begin(s) as the row does, in its first {BEGINS} tokens"]
        if self.least is not None:
            of = "" if self.least == self.target else f"nine tenths of {self.target:.2f}, "
            lines.insert(0, f"the rows' loss is at least {self.least:.2f} nats a token ({of}{self.source})")
        if self.probes:
            lines.append(
                f"of {self.probes_asked} other questions ({', '.join(self.probes).replace('_', ' ')}) at most {self.probes_allowed} give a row away "
                f"({self.probes_source})"
            )
        return [*lines, f"other rows' loss rises by at most {self.margin:g} nats a token"]


@dataclass(frozen=True)
class Outcome:
    """One criterion, and what came out.

    Attributes:
        name: `loss`, `answers`, `others` or `probes`.
        wanted: The bound.
        before: The figure of the model before.
        after: Of the new one.
        reference: Of a model that never saw the rows; `None` where there is none.
        met: Whether the bound holds.
        words: All of it in a sentence.
    """

    name: str
    wanted: float
    before: float
    after: float
    reference: float | None
    met: bool
    words: str


def name_criteria(job: Job) -> dict[str, Path]:
    """Say what forgotten would look like, and what getting there costs.

    Args:
        job: The request; the model before, and one that never saw the rows where there is one, are measured.

    Returns:
        The file.
    """
    before = read_record(job.folder / MEASURED, what="Measurements")
    reference = _measure_reference(job)
    price = price_of(job, before)
    criteria = criteria_of(job, before, reference, price)
    for line in (
        "forgotten is when",
        *(f"  {words}" for words in criteria.in_words()),
        price.in_words(job.config.max_minutes),
    ):
        progress.say(line)
    write_json(job.folder / FILE, criteria.to_json())
    files = {"criteria": job.folder / FILE}
    return files if reference is None else {**files, "reference": job.folder / MEASURED_REFERENCE}


def _measure_reference(job: Job) -> dict[str, Any] | None:
    """Measure the model that training began with, unless its records say that it saw the rows."""
    materials = read_record(job.folder / MATERIALS, what="The record of what the request was carried out on")
    if materials["history"]["seen"]:
        progress.say("the base was trained on these rows itself: it does not say what forgotten looks like")
        return None
    with never_trained(job) as loaded:
        if loaded is None:
            return None
        sets, encoding = work_sets(job), encoding_of(job)
        found = measure(loaded, sets, encoding) | of_criterion(loaded, sets, encoding, job.config.probes)
    write_json(job.folder / MEASURED_REFERENCE, found)
    return found


def read_reference(folder: Path) -> dict[str, Any] | None:
    """Measurements of a model that never saw the rows.

    Args:
        folder: The request's folder.

    Returns:
        The measurements; `None` where there is no such model.
    """
    return read_record_if_any(folder / MEASURED_REFERENCE, what="Measurements")


def criteria_of(job: Job, before: Mapping[str, Any], reference: Mapping[str, Any] | None, price: Price) -> Criteria:
    """The criteria of a request.

    Args:
        job: The request.
        before: Measurements of the model before.
        reference: Of a model that never saw the rows.
        price: What attempts cost.

    Returns:
        The criteria.
    """
    rows = before["sets"]["forget"]["rows"]
    target, source = _target(job, before, reference)
    unseen = len(reference["sets"]["forget"]["begins"]) if reference else 0
    asked, allowed, why = _probes_allowed(job, before, reference)
    return Criteria(
        target=target,
        least=None if target is None else (target if job.config.target_loss is not None else NEAR * target),
        source=source,
        begins=max(unseen, int(LEFT * rows)),
        rows=rows,
        margin=job.config.margin,
        reference=job.ledger.origin().base if reference else None,
        minutes=price,
        probes=tuple(job.config.probes) if asked else (),
        probes_asked=asked,
        probes_allowed=allowed,
        probes_source=why,
    )


def _probes_allowed(job: Job, before: Mapping[str, Any], reference: Mapping[str, Any] | None) -> tuple[int, int, str]:
    """How many questions are asked, how many answers may give a row away, and why so many."""
    if not job.config.probes:
        return 0, 0, ""
    asked, _ = asked_and_leaked(before)
    if not asked:
        progress.say("`probes`: of these rows none can be made, so they are no criterion")
        return 0, 0, ""
    if job.config.probes_allowed is not None:
        return asked, job.config.probes_allowed, "`probes_allowed`"
    if reference is None:
        return asked, int(LEFT * asked), "one in twenty: no model that never saw the rows is known"
    unseen, leaked = asked_and_leaked(reference)
    high = share([1.0] * leaked + [0.0] * (unseen - leaked)).high
    source = f"the upper end of the 95 % interval of what the base model gives away, {leaked} of {unseen}"
    return asked, int(high * asked), source


def _target(job: Job, before: Mapping[str, Any], reference: Mapping[str, Any] | None) -> tuple[float | None, str]:
    if job.config.target_loss is not None:
        return job.config.target_loss, "`target_loss`"
    held_out = before["sets"].get("holdout")
    if held_out is None:
        if reference is None:
            return (
                None,
                "no model that never saw the rows is known, and no like rows that were never trained on are given (`holdout`)",
            )
        return _mean(reference), "their loss under the base model"
    if reference is not None and len(held_out["losses"]) >= FEWEST:
        hard = [reference["sets"]["holdout"]["losses"][row_id] for row_id in held_out["losses"]]
        target = calibrated(hard, list(held_out["losses"].values()), _mean(reference))
        if target is not None:
            return target, "what held-out rows as hard as they are for the base model have under the model before"
    return fmean(held_out["losses"].values()), "the loss of held-out rows under the model before"


def _mean(measured: Mapping[str, Any], name: str = "forget") -> float:
    return fmean(measured["sets"][name]["losses"].values())


def read_criteria(folder: Path) -> Criteria | None:
    """The criteria that a request has named.

    Args:
        folder: The request's folder.

    Returns:
        The criteria; `None` of a request of before they were named.
    """
    named = read_record_if_any(folder / FILE, what="The criteria of the request")
    return Criteria(**{**named, "minutes": Price(**named["minutes"])}) if named is not None else None


def outcomes(
    criteria: Criteria, before: Mapping[str, Any], after: Mapping[str, Any], reference: Mapping[str, Any] | None
) -> list[Outcome]:
    """Hold what came out against the criteria.

    Args:
        criteria: What was named.
        before: Measurements of the model before.
        after: Of the new one.
        reference: Of a model that never saw the rows.

    Returns:
        An outcome a criterion; without a target there is none of the loss.
    """
    found = []
    if criteria.least is not None:
        was, now = _mean(before), _mean(after)
        words = f"the rows' loss went from {was:.2f} to {now:.2f} nats a token; at least {criteria.least:.2f} is wanted"
        never = _mean(reference) if reference else None
        found.append(Outcome("loss", criteria.least, was, now, never, now >= criteria.least, words))
    was, now = (len(side["sets"]["forget"]["begins"]) for side in (before, after))
    words = f"{now} of {criteria.rows} answers begin as the row does, {was} before; at most {criteria.begins} may"
    never = len(reference["sets"]["forget"]["begins"]) if reference else None
    found.append(Outcome("answers", criteria.begins, was, now, never, now <= criteria.begins, words))
    was, now = (_mean(side, "test") for side in (before, after))
    words = f"other rows' loss changed by {now - was:+.3f} nats a token; {criteria.margin:+g} is the most"
    found.append(Outcome("others", criteria.margin, was, now, None, now - was <= criteria.margin, words))
    if criteria.probes:
        (_, was), (_, now) = (asked_and_leaked(side) for side in (before, after))
        most = criteria.probes_allowed
        words = f"{now} of {criteria.probes_asked} other questions give a row away, {was} before; at most {most} may"
        never = asked_and_leaked(reference)[1] if reference else None
        found.append(Outcome("probes", most, was, now, never, now <= most, words))
    return found
