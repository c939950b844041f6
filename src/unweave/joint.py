"""A folder in which several processes may work at once, as long as it is at the same thing."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from unweave.errors import UnweaveError
from unweave.temporary import same_file

PATIENCE = 10.0
"""Seconds in which a process that came first makes the folder ready."""
PAUSE = 0.05


@contextlib.contextmanager
def joined(path: Path, key: str, *, begin: Callable[[], None], busy: UnweaveError) -> Iterator[None]:
    """Work beside processes that do the same; those that do something else are kept out, and keep this one out.

    The first process holds the lock alone while it makes the folder ready; then all hold it together. The last to end removes its file.

    Args:
        path: The lock's file; its folder is made where needed.
        key: What is being done there: it stands in the file.
        begin: Makes the folder ready, where this process is the first.
        busy: Raised when another process is at work there at something else.

    Yields:
        Nothing.

    Raises:
        UnweaveError: `busy`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path, busy) as (lock, first):
        try:
            if first:
                lock.truncate(0)
                lock.write(key)
                lock.flush()
                begin()
                # Not in one go, says the system: who has held it alone in between has left another key.
                fcntl.flock(lock, fcntl.LOCK_SH)
            lock.seek(0)
            if lock.read() != key:
                raise busy
            yield
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path, busy: UnweaveError) -> Iterator[tuple[TextIO, bool]]:
    """The lock's file, held alone or with others; and whether alone."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with path.open("a+", encoding="utf-8") as lock:
            for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, kind | fcntl.LOCK_NB)
                    # A file that went with its last holder keeps nobody out.
                    if same_file(lock.fileno(), path):
                        yield lock, kind == fcntl.LOCK_EX
                        return
        if time.monotonic() > deadline:
            raise busy
        time.sleep(PAUSE)
