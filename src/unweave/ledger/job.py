"""One request being carried out, as its steps see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unweave.config import to_plain
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.ledger.bound import Bound
from unweave.ledger.config import RunConfig
from unweave.ledger.journal import Event
from unweave.ledger.ledger import WORK, Ledger
from unweave.ledger.request import Request
from unweave.ledger.tried import chosen_attempt
from unweave.run.identity import identity_digest, versions
from unweave.run.inputs import of_path, of_rows
from unweave.run.model_inputs import of_named_model

PATHS = "forget_config", "holdout", "retain", "replay"
"""Options of a run that are paths."""


@dataclass(frozen=True)
class Job:
    """One request being carried out.

    Attributes:
        ledger: Its ledger.
        request: The request.
        config: How.
        folder: Where its results go.
        before: The model that is to forget.
    """

    ledger: Ledger
    request: Request
    config: RunConfig
    folder: Path
    before: str

    @property
    def work(self) -> Path:
        """Files that do not outlive the run."""
        return self.folder / WORK

    @property
    def method(self) -> str:
        """The method that made the adapter, once it is made; before that the one asked for."""
        chosen = chosen_attempt(self.folder)
        return chosen.method if chosen else self.config.method

    @property
    def drift_is_used_up(self) -> bool:
        """Whether requests before this one have used up what the model may drift."""
        return drift_used_up(self.ledger.carried_out(until=self.begin)) is not None

    @property
    def further_stores(self) -> list[str]:
        """Stores that the ledger does not know, and that the rows are to leave too."""
        return [str(Path(place).resolve()) for place in self.config.stores]

    @property
    def stores(self) -> list[Path]:
        """All stores that the rows are to leave, the ledger's first."""
        own = self.ledger.origin().store
        return [Path(place) for place in (*([own] if own is not None else []), *self.further_stores)]

    @property
    def adapter(self) -> Path:
        """The new adapter."""
        return self.folder / "adapter"

    @cached_property
    def begin(self) -> int | None:
        """The event with which the attempt began: what came after it, as a replay may find, does not count."""
        started = self.bound().started
        return started.number if started else None

    def is_of(self, started: Event | None) -> bool:
        """Whether an attempt began with what this one begins with.

        Args:
            started: The event of its start.

        Returns:
            The answer.
        """
        return started is not None and started.content == self.started

    def bound(self) -> Bound:
        """The events of the request that count, as the journal stands."""
        return self.ledger.request(self.request.id).bound

    @cached_property
    def rows(self) -> list[Row]:
        """The training rows, read once: every step of an attempt sees the same."""
        return self.ledger.rows()

    @cached_property
    def started(self) -> dict[str, Any]:
        """What the attempt began with: config and model before."""
        inputs = self.ledger.hidden(identity_digest(self.reads()), purpose="inputs")
        return {"config": to_plain(self.config), "before": self.before, "inputs": inputs}

    def reads(self) -> dict[str, Any]:
        """What the steps read, by content: an attempt on other rows or another model is another attempt."""
        replacement = Path(self.request.replacement) if self.request.replacement else None
        return {
            "before": of_named_model(self.before).content,
            "data": self.data_content(),
            "forget_config": of_path(self.config.forget_config).content,
            "holdout": of_path(self.config.holdout).content,
            "replacement": of_path(replacement).content,
            **({"retain": of_path(self.config.retain).content} if self.config.retain else {}),
            **versions(),
        }

    def data_content(self) -> Any:
        """Digests of the files that the training rows are read from; of a data set on the hub, of its rows."""
        return of_rows(self.ledger.origin().data, self.ledger.reading(), read=lambda: self.rows).content

    def require_same_inputs(self) -> None:
        """See that what the attempt began with is still what it reads.

        Raises:
            DataError: When a file was changed meanwhile: half of the attempt would be of one, half of the other.
        """
        if self.ledger.hidden(identity_digest(self.reads()), purpose="inputs") != self.started["inputs"]:
            raise DataError(
                f"What the request '{self.request.id}' reads was changed while it was carried out: data, model, or a file of its options.",
                where=str(self.folder),
                remedy="run it again: it starts over with what is there now",
            )


def drift_used_up(carried_out: Sequence[Request]) -> str | None:
    """Why the model may not drift further.

    Args:
        carried_out: The requests so far.

    Returns:
        The reason; `None` where it may.
    """
    drift = carried_out[-1].bound.done.content["drift"] if carried_out else {}  # type: ignore[union-attr]
    return drift["reason"] if drift.get("retraining_due") else None


def recorded_config(options: dict[str, Any], **changes: Any) -> RunConfig:
    """The config of a run from what was recorded of it.

    Args:
        options: As JSON holds them.
        **changes: Options that are others now.

    Returns:
        The config.
    """
    paths = {name: Path(options[name]) if options.get(name) else None for name in PATHS}
    return RunConfig(**{**options, **paths, "stores": tuple(options.get("stores", ())), **changes})


def require_unchanged(job: Job) -> dict[str, Row]:
    """The rows of a request as the data has them, by id.

    Args:
        job: The request.

    Returns:
        Id to row.

    Raises:
        DataError: When a row is gone, or is not what it was when the request was made.
    """
    rows = {row.id: row for row in job.rows}
    for row_id, digest in job.request.rows.items():
        if row_id not in rows:
            raise DataError(
                f"The row '{row_id}' is no longer in the data.",
                where=job.ledger.origin().data,
                remedy="run requests before the rows leave the data",
            )
        if job.ledger.row_hash(rows[row_id]) != digest:
            raise DataError(
                f"The row '{row_id}' has changed since it was asked to be forgotten.",
                where=rows[row_id].place,
                remedy="restore it, or add a new request",
            )
    return rows
