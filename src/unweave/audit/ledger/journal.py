"""An append-only journal in one SQLite file: events in a hash chain, so that nothing in it can be changed or taken out unseen.

Each event's hash covers its content and the hash before it. SQLite's triggers refuse updates and deletions, which stops accidents; whoever edits the
file itself breaks the chain, which `check` finds. A cut-off tail leaves a whole chain: the certificates name the hash of the event they belong
to, and that is then missing.
"""

import datetime
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.errors import DataError

BUSY_SECONDS = 30.0
SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    request TEXT NOT NULL,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE
);
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
COMMIT;
"""


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        number: From 1, without gaps.
        time: UTC, ISO 8601.
        request: The request it belongs to; empty for what concerns the ledger.
        kind: `created`, `added`, `started`, `step`, `done`, `rolled back`.
        content: Its details.
        previous: Hash of the event before; empty for the first.
        hash: BLAKE2b of all of the above.
    """

    number: int
    time: str
    request: str
    kind: str
    content: dict[str, Any]
    previous: str
    hash: str


class Journal:
    """The events of one ledger.

    Args:
        path: The SQLite file; made where it is missing.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never on a journal that is there: triggers that someone has dropped must stay dropped, for `check` to find.
        if not path.is_file() or not path.stat().st_size:
            with self._connection() as connection:
                connection.executescript(SCHEMA)

    def append(self, kind: str, request: str = "", **content: Any) -> Event:
        """Add an event; it is on the disk when this returns.

        Args:
            kind: What happened.
            request: To which request.
            **content: Details, as JSON holds them.

        Returns:
            The event.
        """
        return self.append_if(lambda _: True, kind, request, **content)  # type: ignore[return-value]

    def append_if(self, condition: Any, kind: str, request: str = "", **content: Any) -> Event | None:
        """Add an event unless those before it speak against it; no other process can come in between.

        Args:
            condition: Gets all events, and says whether to add this one.
            kind: What happened.
            request: To which request.
            **content: Details.

        Returns:
            The event, or `None`.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            events = _read(connection, self.path)
            if not condition(events):
                connection.rollback()
                return None
            time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            previous = events[-1].hash if events else ""
            number = len(events) + 1
            text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
            digest = _hash(number, time, request, kind, text, previous)
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", (number, time, request, kind, text, previous, digest)
            )
            connection.commit()
        return Event(number, time, request, kind, json.loads(text), previous, digest)

    def events(self) -> list[Event]:
        """All events, in order."""
        with self._connection() as connection:
            return _read(connection, self.path)

    def check(self) -> list[str]:
        """Recompute the chain.

        Returns:
            What is wrong; empty when nothing is.
        """
        faults, previous = [], ""
        with self._connection() as connection:
            rows = connection.execute("SELECT * FROM events ORDER BY number").fetchall()
            triggers = {
                name
                for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            }
        for expected, (number, *parts, before, digest) in enumerate(rows, start=1):
            if number != expected:
                faults.append(f"event {expected} of the journal is missing")
                break
            if before != previous or digest != _hash(number, *parts, before):
                faults.append(f"event {number} of the journal ({parts[2]} {parts[1]}) was changed after it was written")
                break
            previous = digest
        if missing := {"no_update", "no_delete"} - triggers:
            faults.append(f"the journal lost its protection: {', '.join(sorted(missing))}")
        return faults

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"The ledger can't be used: {error}.", where=str(self.path), remedy="restore it from a backup"
            ) from error


def _read(connection: sqlite3.Connection, path: Path) -> list[Event]:
    rows = connection.execute("SELECT * FROM events ORDER BY number").fetchall()
    try:
        return [_event(*row) for row in rows]
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"An event of the ledger is broken: {error}.", where=str(path), remedy="restore it from a backup"
        ) from error


def _event(number: Any, time: Any, request: Any, kind: Any, text: Any, previous: Any, digest: Any) -> Event:
    content = json.loads(text)
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in (time, request, kind, digest)):
        raise TypeError(f"event {number} holds values of the wrong kind")
    return Event(number, time, request, kind, content, previous, digest)


def _hash(*parts: Any) -> str:
    # What is no text any more is written as Python shows it: its hash is another one than the text's.
    text = json.dumps(parts, ensure_ascii=False, default=repr)
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()
