"""A request, and what its ledger is about, as the journal has them."""

from dataclasses import dataclass, field
from typing import Any

from unweave.ledger.bound import Bound, bind
from unweave.ledger.journal import Event
from unweave.ledger.states import CARRIED_OUT, GIVEN_UP, OPEN


@dataclass(frozen=True)
class Request:
    """One request, as the journal has it.

    Attributes:
        id: Its name.
        kind: `removal`, `modification` or `correction`.
        rows: Row id to the hash of the content that is to be forgotten.
        replacement: File of the new rows; `None` for a removal.
        reason: Why.
        state: One of `unweave.ledger.states`.
        events: All its events, in order.
        reading: The options that the new rows are read with.
        selection: How its rows were found, without any text; `None` of requests of before that was recorded.
    """

    id: str
    kind: str
    rows: dict[str, str]
    replacement: str | None
    reason: str
    state: str
    events: list[Event] = field(default_factory=list)
    reading: dict[str, Any] | None = None
    selection: dict[str, Any] | None = None

    @property
    def is_done(self) -> bool:
        """Whether it was carried out and not rolled back, whatever the measurements show."""
        return self.state in CARRIED_OUT

    @property
    def holds_rows(self) -> bool:
        """Whether its rows can't be asked for again."""
        return self.state not in GIVEN_UP

    @property
    def bound(self) -> Bound:
        """The events that count."""
        return bind(self.events)

    def last(self, kind: str) -> Event | None:
        """The newest event of a kind.

        Args:
            kind: The kind.

        Returns:
            The event, or `None`.
        """
        return next((event for event in reversed(self.events) if event.kind == kind), None)


@dataclass(frozen=True)
class Origin:
    """What a ledger is about.

    Attributes:
        data: File of the training rows.
        data_fingerprint: Of their ids and contents.
        rows: How many.
        model: The model before any request.
        model_files: Its files to their digests, where it is a folder.
        base: The base of an adapter, or the model itself.
        base_files: Its files to their digests, where it is a folder.
        store: Gradient store of the rows, or `None`.
        max_perplexity_change: Drift budget.
        max_removed_share: Drift budget.
        reading: The options that the data is read with; `None` in old ledgers, whose data has a layout that is recognised.
        key: Id of the key that hashes are made with; `None` in old ledgers, whose hashes are plain.
    """

    data: str
    data_fingerprint: str
    rows: int
    model: str
    model_files: dict[str, str]
    base: str
    base_files: dict[str, str]
    store: str | None
    max_perplexity_change: float
    max_removed_share: float
    reading: dict[str, Any] | None = None
    key: str | None = None


def asked_for(event: Event) -> Request:
    """The request that was added.

    Args:
        event: Its first event.

    Returns:
        The request, open.

    Raises:
        TypeError: When the event holds something else.
    """
    request = Request(event.request, state=OPEN, **event.content["asked"])
    hashes = request.rows.values() if isinstance(request.rows, dict) else [None]
    if not all(isinstance(text, str) for text in (request.kind, request.reason, *hashes)):
        raise TypeError("values of the wrong kind")
    return request
