"""A lock that one process holds at a time, and whose file says which."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from unweave.errors import UnweaveError
from unweave.temporary import same_file


@contextlib.contextmanager
def locked(path: Path, busy: UnweaveError | None = None) -> Iterator[None]:
    """Hold an exclusive lock for as long as the block lasts; the system lets go of it when the process ends, however it ends.

    The file says who holds it. It goes with the block; one that a killed process left behind holds nothing back.

    Args:
        path: The lock's file; its folder is made where needed.
        busy: Raised when another process holds the lock, with that process's number, machine and time; by default it is waited for.

    Yields:
        Nothing.

    Raises:
        UnweaveError: `busy`; or when the file system can't lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = _acquired(path, wait=busy is None)
    except BlockingIOError as error:
        assert busy is not None, "a lock that is waited for is got"
        raise type(busy)(f"{busy.what} {_holder(path)}", where=busy.where, remedy=busy.remedy) from error
    with lock:
        try:
            yield
        finally:
            # While it is still held: who waits for it finds that its file is gone, and makes a new one.
            path.unlink(missing_ok=True)


def _acquired(path: Path, *, wait: bool) -> TextIO:
    """The lock's file, open and held."""
    while True:
        # Opened without emptying it: it says who holds it.
        lock = path.open("a+", encoding="utf-8")
        try:
            _flock(lock, path, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if same_file(lock.fileno(), path):
                lock.truncate(0)
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                lock.write(json.dumps({"process": os.getpid(), "machine": socket.gethostname(), "since": now}))
                lock.flush()
                return lock
        except BaseException:
            lock.close()
            raise
        # The file that was waited for went with its holder: this lock would keep nobody out.
        lock.close()


def _flock(lock: TextIO, path: Path, operation: int) -> None:
    try:
        fcntl.flock(lock, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        # A disk of the network without locks, mostly.
        raise UnweaveError(
            f"The folder can't be locked against other processes: {error.strerror}.",
            where=str(path.parent),
            remedy="choose a folder on a file system with locks, such as a local disk",
        ) from error


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"It is process {found['process']} on {found['machine']}, since {found['since']}."
    except (OSError, ValueError, KeyError, TypeError):
        return "Which one, the lock does not say."
