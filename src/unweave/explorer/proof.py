"""What a ledger says of a request, as the screen shows it: the verdict, the criteria, and behind every mean the rows."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unweave.errors import DataError
from unweave.files import read_record_if_any
from unweave.ledger.criteria import MEASURED_REFERENCE
from unweave.ledger.job import Job, recorded_config
from unweave.ledger.journal import Event
from unweave.ledger.keys import NAMED
from unweave.ledger.ledger import Ledger
from unweave.ledger.measuring import MEASURED_AFTER, side_by_side
from unweave.ledger.request import Request
from unweave.ledger.states import NOT_FORGOTTEN, STEP
from unweave.ledger.tokens import MEASURED
from unweave.names import fault_of

SETS = {
    "forget": "rows to forget",
    "test": "other rows",
    "holdout": "rows like them, never trained on",
    "replacement": "the new rows",
}
BEHIND = {"loss": "forget", "others": "test"}
"""Criterion to the set of rows whose mean it is of."""


@dataclass(frozen=True)
class RowLoss:
    """A row behind a mean.

    Attributes:
        name: What the ledger calls it.
        id: What the data does, where that is known; `None` where the name is a keyed hash.
        before: Its loss under the model before, nats a token.
        after: Under the new one.
        reference: Under a model that never saw it; `None` where that was not measured.
    """

    name: str
    id: str | None
    before: float | None
    after: float | None
    reference: float | None

    @property
    def change(self) -> float | None:
        """How much it rose."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class Proof:
    """What was found of a request.

    Attributes:
        request: The request.
        found: The certificate, or the report; `None` of a request that has neither.
        is_certificate: Whether it is a certificate.
        sets: Set to its rows, those first whose loss changed most.
        begins: Side (`before`, `after`, `reference`) to the rows whose answers begin as the row does.
    """

    request: Request
    found: dict[str, Any] | None
    is_certificate: bool
    sets: Mapping[str, list[RowLoss]]
    begins: Mapping[str, list[str]]


def proof_of(ledger: Ledger, request: Request) -> Proof:
    """Read what a request has left.

    Args:
        ledger: Its ledger.
        request: The request.

    Returns:
        What was found.
    """
    name = document_name(request)
    folder = ledger.request_folder(request.id) if fault_of(request.id) is None else None
    found = read_record_if_any(folder / f"{name}.json", what=f"The {name}") if folder and name else None
    if found is None or folder is None:
        return Proof(request, None, False, {}, {})
    sides = {side: found["measured"][side]["sets"] for side in ("before", "after")}
    reference = read_record_if_any(folder / MEASURED_REFERENCE, what="Measurements")
    sides["reference"] = reference["sets"] if reference else {}
    ids = own_ids(ledger, {row for own in sides["after"].values() for row in own["losses"]})
    sets = {}
    for kind in sides["after"]:
        losses = {side: own.get(kind, {}).get("losses", {}) for side, own in sides.items()}
        rows = [
            RowLoss(
                row,
                ids[row],
                *(losses[side].get(row) for side in ("before", "after", "reference")),
            )
            for row in losses["after"]
        ]
        sets[kind] = sorted(rows, key=lambda row: -abs(row.change or 0.0))
    begins = {side: list(own.get("forget", {}).get("begins", [])) for side, own in sides.items()}
    return Proof(request, found, name == "certificate", sets, begins)


def own_ids(ledger: Ledger, names: Collection[str]) -> dict[str, str | None]:
    """The ids that the data has for what a ledger calls rows.

    Args:
        ledger: The ledger.
        names: What it calls them.

    Returns:
        Name to id; to `None` where the name is a keyed hash, and no row of the data has it.
    """
    ledger.own_ids(names)
    found = {name: ledger.own_id(name) for name in names}
    return {name: None if own.startswith(NAMED) else own for name, own in found.items()}


def document_name(request: Request) -> str | None:
    """What a request has come to, as its file is called.

    Args:
        request: The request.

    Returns:
        `certificate`, `report`, or `None`.
    """
    return "certificate" if request.bound.done else "report" if request.state == NOT_FORGOTTEN else None


def answers_of(ledger: Ledger, request: Request) -> list[dict[str, str]]:
    """What the models answer to some of the rows of a request.

    Args:
        ledger: Its ledger.
        request: The request.

    Returns:
        As `side_by_side`; computed anew, and kept nowhere.

    Raises:
        DataError: When it was not carried out, or its rows have left the data.
    """
    started, folder = request.bound.started, ledger.request_folder(request.id)
    if started is None or not ((folder / MEASURED).is_file() and (folder / MEASURED_AFTER).is_file()):
        raise DataError("The request was not carried out.", where=request.id, remedy="carry it out first")
    job = Job(ledger, request, recorded_config(started.content["config"]), folder, started.content["before"])
    rows = [row for row in ledger.rows() if row.id in request.rows]
    if not rows:
        raise DataError(
            "The rows have left the data: there is nothing to ask the models.",
            where=ledger.origin().data,
            remedy="give the data as it was",
        )
    return side_by_side(job, rows)


def timeline(events: Iterable[Event]) -> list[dict[str, str]]:
    """Events of a journal for people.

    Args:
        events: The events.

    Returns:
        Number, time, request and words of each, the newest first.
    """
    return [
        {
            "number": str(event.number),
            "time": event.time.replace("T", " ").replace("+00:00", " UTC"),
            "request": event.request,
            "words": str(event.content.get("step", "")) if event.kind == STEP else event.kind,
            "reason": str(event.content.get("reason") or ""),
        }
        for event in reversed(list(events))
    ]
