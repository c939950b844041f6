"""A ledger: its requests with their states, folded from the journal, and which model is the current one."""

import contextlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unweave.audit.ledger.bound import Bound, bind, said_before
from unweave.audit.ledger.config import ListConfig
from unweave.audit.ledger.journal import Event, Journal
from unweave.audit.ledger.keys import (
    NAMED,
    Key,
    hidden,
    key_path,
    ledger_name,
    read_key,
    row_hash,
    under_ledger_names,
)
from unweave.audit.ledger.states import (
    CARRIED_OUT,
    END,
    END_NOT_SHOWN,
    GIVEN_UP,
    OPEN,
    after,
    after_as_read,
    event_name,
)
from unweave.data.config import ReadingConfig, read_configured
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.errors import DataError, UnweaveError, nearest
from unweave.names import fault_of, inside

FILE, LOCK = "ledger.db", "ledger.lock"
WORK = "work"
"""The folder of a request's rows while it is carried out."""


@dataclass(frozen=True)
class Request:
    """One request, as the journal tells it.

    Attributes:
        id: Its name.
        kind: `removal`, `modification` or `correction`.
        rows: Row id to the hash of the content that is to be forgotten.
        replacement: File of the new rows; `None` for a removal.
        reason: Why.
        state: One of `unweave.audit.ledger.states`.
        events: All its events, in order.
        reading: The options that the new rows are read with.
    """

    id: str
    kind: str
    rows: dict[str, str]
    replacement: str | None
    reason: str
    state: str
    events: list[Event] = field(default_factory=list)
    reading: dict[str, Any] | None = None

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
        reading: The options that the data is read with; `None` in old ledgers, whose data is in a known layout.
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


class Ledger:
    """A ledger's folder.

    Args:
        folder: Where it is.
        create: Whether to make it where it is missing.
        key: Its key's file; by default the one beside the folder.
        without_key: Whether to do without: names and hashes of rows are then not told from others.
    """

    def __init__(self, folder: Path, *, create: bool = False, key: Path | None = None, without_key: bool = False):
        self.folder = folder
        self.key_file = key
        self.without_key = without_key
        self._own: dict[str, str] = {}
        if not create and not (folder / FILE).is_file():
            raise DataError("There is no ledger here.", where=str(folder), remedy="add a request first")
        self.journal = Journal(folder / FILE)

    def origin(self) -> Origin:
        """What the ledger is about.

        Returns:
            Data, model, store, budget.

        Raises:
            DataError: When the first event is missing.
        """
        first = next((event for event in self.journal.events() if event.kind == "created"), None)
        if first is None:
            raise DataError(
                "The ledger is empty.", where=str(self.folder), remedy="add a request with --data and --model"
            )
        try:
            return Origin(**first.content)
        except TypeError as error:
            raise self._broken(first) from error

    @cached_property
    def key(self) -> Key | None:
        """Its key; `None` for an old ledger, or where it is to do without."""
        expected = None if self.without_key else self.origin().key
        return None if expected is None else read_key(key_path(self.folder, self.key_file), expected)

    def require_key(self) -> Key | None:
        """Read the key now: that it is missing is better said before any work than in its middle.

        Returns:
            The key, if it is to be used.
        """
        return self.key

    @cached_property
    def is_blind(self) -> bool:
        """Whether it has a key and does without, so that rows can't be told by their hashes."""
        return self.without_key and self.origin().key is not None

    def row_hash(self, row: Row) -> str:
        """A hash of a row's content, as the ledger keeps it.

        Args:
            row: The row, under the id that the ledger calls it by.

        Returns:
            32 hexadecimal digits.
        """
        return row_hash(row, self.key)

    def hidden(self, digest: str, *, purpose: str) -> str:
        """A digest of something that holds rows, as the ledger may keep it.

        Args:
            digest: The plain one.
            purpose: What it is of: `rows`, `file`, `inputs`.

        Returns:
            32 hexadecimal digits.
        """
        return hidden(digest, self.key, purpose=purpose)

    def hidden_content(self, content: Any) -> Any:
        """Digests of files that may hold rows, as the ledger may keep them.

        Args:
            content: The plain ones, as JSON holds them.

        Returns:
            A digest of all together; without a key what was given.
        """
        return content if self.key is None else self.hidden(json.dumps(content, sort_keys=True), purpose="file")

    def name_of(self, row_id: str) -> str:
        """What the ledger calls a row.

        Args:
            row_id: The row's id, as data and store have it.

        Returns:
            The id, or another name where the id is a hash of the content.
        """
        return ledger_name(row_id, self.key)

    def named(self, rows: Sequence[Row]) -> list[Row]:
        """Rows as the ledger calls them.

        Args:
            rows: The rows.

        Returns:
            The rows, in their order.
        """
        named = under_ledger_names(rows, self.key)
        self._own |= {new.id: old.id for old, new in zip(rows, named, strict=True) if new is not old}
        return named

    def own_ids(self, names: Iterable[str]) -> list[str]:
        """The ids of rows as the data has them, where these can be told.

        Args:
            names: What the ledger calls them.

        Returns:
            Ids, sorted; of rows that have left the data, or without the key, the names.
        """
        if any(name.startswith(NAMED) for name in names):
            with contextlib.suppress(UnweaveError):
                self.rows()
        return sorted(map(self.own_id, names))

    def own_id(self, name: str) -> str:
        """The id of a row that was read.

        Args:
            name: What the ledger calls it.

        Returns:
            What its file does.
        """
        return self._own.get(name, name)

    def requests(self, *, until: int | None = None) -> dict[str, Request]:
        """All requests by id, in the order in which they were added.

        Args:
            until: As the journal stood after this event; by default as it stands.

        Returns:
            The requests.
        """
        return self.fold(self.journal.events()[:until])

    def fold(self, events: Iterable[Event]) -> dict[str, Request]:
        """The requests that events tell of.

        Args:
            events: Events from the journal's first on.

        Returns:
            The requests by id, in the order in which they were added.
        """
        found: dict[str, Request] = {}
        for event in events:
            try:
                request = found.get(event.request)
                state = after_as_read(request.state if request else None, event_name(event))
                if request is None and state is not None:
                    found[event.request] = replace(_request(event), state=state, events=[event])
                elif request is not None:
                    # Who can write to the file can append: what an earlier event has bound, or can't be in this state, changes nothing.
                    late = state is None or said_before(request.events, event)
                    found[event.request] = replace(
                        request, state=request.state if late else state, events=[*request.events, event]
                    )
            except (KeyError, TypeError) as error:
                raise self._broken(event) from error
        return found

    def record(self, kind: str, name: str, **content: Any) -> Event:
        """Add an event of a request, if that is possible in its state, whatever other processes have done meanwhile.

        Args:
            kind: What happened.
            name: To which request.
            **content: Details.

        Returns:
            The event.

        Raises:
            DataError: When the request has come into a state that has no such event.
        """
        event_is = END_NOT_SHOWN if kind == END and content.get("shown") is False else kind
        states: list[str | None] = []

        def possible(events: list[Event]) -> bool:
            request = self.fold(events).get(name)
            states.append(request.state if request else None)
            return after(states[-1], event_is) is not None

        event = self.journal.append_if(possible, kind, name, **content)
        if event is None:
            raise DataError(
                f"The request '{name}' is {states[-1] or 'not in the ledger'}: it can't be '{event_is}'.",
                where=str(self.folder),
                remedy="see `unweave request list`",
            )
        return event

    def _broken(self, event: Event) -> DataError:
        return DataError(
            f"Event {event.number} of the ledger ({event.kind}) lacks or holds what can't be.",
            where=str(self.journal.path),
            remedy="restore it from a backup",
        )

    def request(self, name: str) -> Request:
        """A request.

        Args:
            name: Its id.

        Returns:
            The request.

        Raises:
            DataError: When there is none of that name.
        """
        requests = self.requests()
        # Accents typed as letters of their own are the same name; ids of before names were checked are found as they are.
        name = name if name in requests else unicodedata.normalize("NFC", name)
        if name not in requests:
            raise DataError(
                f"There is no request '{name}'.",
                where=str(self.folder),
                remedy=nearest(name, requests) if requests else "add one first",
            )
        return requests[name]

    def carried_out(self, *, until: int | None = None) -> list[Request]:
        """The requests that are done and not rolled back, in the order in which they were done.

        Args:
            until: As the journal stood after this event; by default as it stands.

        Returns:
            The requests.
        """
        done = [request for request in self.requests(until=until).values() if request.is_done]
        return sorted(done, key=lambda request: request.bound.done.number)  # type: ignore[union-attr]

    def request_folder(self, name: str) -> Path:
        """Where a request's adapter and certificate lie.

        Args:
            name: Its id.

        Returns:
            The folder, right in the ledger's; the id of an old ledger that would lead elsewhere is an error.
        """
        return inside(self.folder / "requests", name, what="The request's id")

    def model(self) -> str:
        """The current model: that of the last request carried out, or the one before all of them."""
        done = self.carried_out()
        return str(self.request_folder(done[-1].id) / "adapter") if done else self.origin().model

    def rows(self) -> list[Row]:
        """The training rows.

        Returns:
            The rows as the data file has them now, as the ledger calls them.
        """
        return self.named(read_configured(self.origin().data, self.reading()).rows)

    def reading(self) -> ReadingConfig:
        """The options that the data is read with.

        Returns:
            As they were given when the ledger was made.
        """
        return ReadingConfig(**(self.origin().reading or {}))

    def new_rows(self, request: Request) -> list[Row]:
        """The rows that a request puts in the place of others.

        Args:
            request: The request.

        Returns:
            The rows as their file has them now, as the ledger calls them; none for a removal.
        """
        if request.replacement is None:
            return []
        reading = ReadingConfig(**(request.reading or {}))
        return self.named(read_beside(request.replacement, reading, self.reading()).rows)


def _request(event: Event) -> Request:
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


def list_requests(config: ListConfig) -> list[dict[str, Any]]:
    """The requests of a ledger.

    Args:
        config: The ledger.

    Returns:
        Id, kind, rows, state, reason and times of each, the class of its certificate, and whether a killed run left texts of its rows.
    """
    found = []
    ledger = Ledger(config.ledger)
    for request in ledger.requests().values():
        done = request.bound.done
        found.append(
            {
                "id": request.id,
                "kind": request.kind,
                "rows": len(request.rows),
                "state": request.state,
                "class": done.content["class"] if done else None,
                "added": request.events[0].time,
                "done": done.time if done else None,
                "reason": request.reason,
                "texts_left": fault_of(request.id) is None and (ledger.request_folder(request.id) / WORK).exists(),
            }
        )
    return found
