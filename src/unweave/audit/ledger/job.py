"""One request being carried out, as its steps see it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unweave.audit.ledger.config import RunConfig
from unweave.audit.ledger.ledger import Ledger, Request, content_hash
from unweave.config import to_plain
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.identity import identity_digest, versions
from unweave.inputs import of_named_model, of_path


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
        return self.folder / "work"

    @property
    def adapter(self) -> Path:
        """The new adapter."""
        return self.folder / "adapter"

    @cached_property
    def begin(self) -> int | None:
        """The event with which the attempt began: what came after it, as a replay may find, does not count."""
        started = self.ledger.request(self.request.id).last("started")
        return started.number if started else None

    @cached_property
    def started(self) -> dict[str, Any]:
        """What the attempt began with: config and model before."""
        return {"config": to_plain(self.config), "before": self.before, "inputs": identity_digest(self._reads())}

    def _reads(self) -> dict[str, Any]:
        """What the steps read, by content: an attempt on other rows or another model is another attempt."""
        replacement = Path(self.request.replacement) if self.request.replacement else None
        return {
            "before": of_named_model(self.before).content,
            "data": of_path(self.ledger.origin().data).content,
            "forget_config": of_path(self.config.forget_config).content,
            "holdout": of_path(self.config.holdout).content,
            "replacement": of_path(replacement).content,
            **versions(),
        }


def recorded_config(options: dict[str, Any], **changes: Any) -> RunConfig:
    """The config of a run from what was recorded of it.

    Args:
        options: As JSON holds them.
        **changes: Options that are others now.

    Returns:
        The config.
    """
    paths = {name: Path(options[name]) if options[name] else None for name in ("forget_config", "holdout", "replay")}
    return RunConfig(**{**options, **paths, **changes})


def require_unchanged(job: Job) -> dict[str, Row]:
    """The rows of a request as the data has them, by id.

    Args:
        job: The request.

    Returns:
        Id to row.

    Raises:
        DataError: When a row is gone, or is not what it was when the request was made.
    """
    rows = {row.id: row for row in job.ledger.rows()}
    for row_id, digest in job.request.rows.items():
        if row_id not in rows:
            raise DataError(
                f"The row '{row_id}' is no longer in the data.",
                where=job.ledger.origin().data,
                remedy="run requests before the rows leave the data",
            )
        if content_hash(rows[row_id]) != digest:
            raise DataError(
                f"The row '{row_id}' has changed since it was asked to be forgotten.",
                where=rows[row_id].place,
                remedy="restore it, or add a new request",
            )
    return rows
