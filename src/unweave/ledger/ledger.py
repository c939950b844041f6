"""A ledger: its requests with their states, folded from the journal, and which model is the current one."""

import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave.errors import DataError, nearest
from unweave.ledger.bound import said_before
from unweave.ledger.config import ListConfig
from unweave.ledger.journal import Event, Journal
from unweave.ledger.ledger_rows import LedgerRows
from unweave.ledger.request import Origin, Request, asked_for
from unweave.ledger.states import END, END_NOT_SHOWN, after, after_as_read, event_name
from unweave.names import fault_of, inside

FILE, LOCK = "ledger.db", "ledger.lock"
WORK = "work"
"""The folder of a request's rows while it is carried out."""


class Ledger(LedgerRows):
    """A ledger's folder.

    Args:
        folder: Where it is.
        create: Whether to make it where it is missing.
        key: Its key's file; by default the one beside the folder.
        without_key: Whether to do without: names and hashes of rows are then not recognised.
    """

    def __init__(self, folder: Path, *, create: bool = False, key: Path | None = None, without_key: bool = False):
        super().__init__(folder, key_file=key, without_key=without_key)
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
                "The ledger is empty.", where=str(self.folder), remedy="add a request with `data` and `model`"
            )
        try:
            return Origin(**first.content)
        except TypeError as error:
            raise self._broken(first) from error

    def requests(self, *, until: int | None = None) -> dict[str, Request]:
        """All requests by id, in the order in which they were added.

        Args:
            until: As the journal stood after this event; by default as it stands.

        Returns:
            The requests.
        """
        return self.fold(self.journal.events()[:until])

    def fold(self, events: Iterable[Event]) -> dict[str, Request]:
        """The requests that events record.

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
                    found[event.request] = replace(asked_for(event), state=state, events=[event])
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
