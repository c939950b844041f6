"""Holding a ledger for a command that changes it."""

from collections.abc import Iterator
from contextlib import contextmanager

from unweave.errors import BusyError
from unweave.ledger.ledger import LOCK, Ledger
from unweave.locks import locked


@contextmanager
def alone(ledger: Ledger) -> Iterator[None]:
    """Hold the ledger for a command that changes what a request has left; an event that a kill has left without its seal gets one.

    Args:
        ledger: The ledger.

    Yields:
        Nothing.
    """
    busy = BusyError(
        "Another process is at work on this ledger.", where=str(ledger.folder), remedy="wait for it, then run again"
    )
    with locked(ledger.folder / LOCK, busy):
        ledger.journal.seal()
        yield
