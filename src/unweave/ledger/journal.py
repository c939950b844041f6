"""An append-only journal in one SQLite file: events in a hash chain, so that nothing in it can be changed or taken out unseen.

Each event's hash covers its content and the hash before it. SQLite's triggers refuse updates and deletions, which stops accidents; whoever edits the
file itself breaks the chain, which `check` finds. A cut-off tail leaves a whole chain: the certificates name the hash of the event they belong
to, and that is then missing. Beside the file lies its seal, the digest of all its bytes after the last event: a database has bytes that hold no event.

The chain by itself has no signature. Who can write to the file can append events, or write another ledger from the start; see `bound` for what the first
are worth, and `signing` for what a key of the user's binds.
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
from unweave.files import file_digest, read_record, write_text
from unweave.locks import locked

BUSY_SECONDS = 30.0
SEALED = 1
"""SQLite's `user_version` of a journal that has a seal; those of before have none until the next event."""
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


def files_of_journal(name: str) -> tuple[str, ...]:
    """The files that belong to a journal.

    Args:
        name: Of its database.

    Returns:
        Names of files: the database, its seal, the lock of its writers, and what SQLite keeps beside it while it writes.
    """
    return name, f"{name}.seal", f"{name}.lock", f"{name}-journal"


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        number: From 1, without gaps.
        time: UTC, ISO 8601.
        request: The request it belongs to; empty for what concerns the ledger.
        kind: `created`, `added`, `started`, `step`, `done`, `signed`, `rolled back`.
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


REMEDIES = {
    "disk is full": "free some space and run the same command again",
    "readonly": "give it a disk and permissions to be written with, and run the same command again",
    "unable to open": "check the path, and that it can be read and written",
    "locked": "wait for the process that uses it, then run again",
}
"""What SQLite says of a database that is whole, and what to do."""


class Journal:
    """The events of one ledger.

    Args:
        path: The SQLite file; made where it is missing.
    """

    def __init__(self, path: Path):
        self.path = path
        self._seal, self._lock = (path.with_name(name) for name in files_of_journal(path.name)[1:3])
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never on a journal that is there: triggers that someone has dropped must stay dropped, for `check` to find.
        if not path.is_file() or not path.stat().st_size:
            with self._connection() as connection:
                connection.executescript(SCHEMA)

    def seal(self) -> None:
        """Write down the digest of the file's bytes, where the chain is whole and the seal is not of its last event: after a kill between the two."""
        with locked(self._lock):
            self._seal_again(self.events())

    def _seal_again(self, events: list[Event]) -> None:
        if events and self._sealed().get("head") != events[-1].hash and not self._broken_links():
            self._write_seal(events[-1])

    def _write_seal(self, last: Event) -> None:
        write_text(self._seal, self._seal_of(last))

    def _seal_of(self, last: Event) -> str:
        return json.dumps({"events": last.number, "head": last.hash, "file": file_digest(self.path)}) + "\n"

    def _sealed(self) -> dict[str, Any]:
        try:
            return read_record(self._seal, what="The seal of the journal")
        except DataError:
            return {}

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
        with locked(self._lock), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            events = _read(connection, self.path)
            if not condition(events):
                connection.rollback()
                # A kill may have come between what is there already and its seal.
                self._seal_again(events)
                return None
            time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            previous = events[-1].hash if events else ""
            number = len(events) + 1
            text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
            digest = _hash(number, time, request, kind, text, previous)
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", (number, time, request, kind, text, previous, digest)
            )
            connection.execute(f"PRAGMA user_version = {SEALED}")
            connection.commit()
            event = Event(number, time, request, kind, json.loads(text), previous, digest)
            self._write_seal(event)
        return event

    def events(self) -> list[Event]:
        """All events, in order."""
        with self._connection() as connection:
            return _read(connection, self.path)

    def digest(self, until: int) -> str:
        """SHA-256 of the first events, as they stand in the file: of more bits than the chain's own hashes have.

        Args:
            until: The number of the last of them.

        Returns:
            64 hexadecimal digits.
        """
        digest = hashlib.sha256()
        with self._connection() as connection:
            rows = connection.execute("SELECT * FROM events ORDER BY number LIMIT ?", (until,)).fetchall()
        for row in rows:
            digest.update(_text_of(row) + b"\n")
        return digest.hexdigest()

    def check(self) -> list[str]:
        """Recompute the chain, and the digest of the file.

        Returns:
            What is wrong; empty when nothing is.
        """
        faults = self._broken_links()
        with self._connection() as connection:
            triggers = {
                name
                for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            }
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if missing := {"no_update", "no_delete"} - triggers:
            faults.append(f"the journal lost its protection: {', '.join(sorted(missing))}")
        if not faults and (version >= SEALED or self._seal.exists()):
            faults += self._broken_seal()
        return faults

    def _broken_seal(self) -> list[str]:
        sealed = self._sealed()
        if not sealed:
            return [f"the seal of the journal is missing or broken ({self._seal.name})"]
        events = self.events()
        if events and self._seal.read_bytes() == self._seal_of(events[-1]).encode():
            return []
        if isinstance(sealed.get("events"), int) and sealed["events"] < len(events):
            return [
                f"{len(events) - sealed['events']} event(s) came after the journal was sealed: a run was killed (run the request again, which seals it), "
                "or another program wrote them"
            ]
        return ["the journal's file has other bytes than when its last event was written"]

    def _broken_links(self) -> list[str]:
        """What is wrong with the chain."""
        previous = ""
        with self._connection() as connection:
            rows = connection.execute("SELECT * FROM events ORDER BY number").fetchall()
        for expected, (number, *parts, before, digest) in enumerate(rows, start=1):
            if number != expected:
                return [f"event {expected} of the journal is missing"]
            if before != previous or digest != _hash(number, *parts, before):
                return [f"event {number} of the journal ({parts[2]} {parts[1]}) was changed after it was written"]
            previous = digest
        return []

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # SQLite quotes a damaged schema in its message, which is then no text, and Python can't make an error of its own of it.
            raise DataError(
                f"The ledger can't be used: {error}.", where=str(self.path), remedy=_remedy(error)
            ) from error


def _remedy(error: Exception) -> str:
    """What to do: a ledger that can't be written to is no broken one."""
    return next((remedy for text, remedy in REMEDIES.items() if text in str(error)), "restore it from a backup")


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
    return hashlib.blake2b(_text_of(parts), digest_size=16).hexdigest()


def _text_of(parts: tuple[Any, ...]) -> bytes:
    # What is no text any more is written as Python shows it: its hash is another one than the text's.
    return json.dumps(parts, ensure_ascii=False, default=repr).encode("utf-8", "backslashreplace")
