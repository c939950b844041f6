"""Progress on standard error: bars on a terminal, a line every tenth elsewhere, nothing when turned off; and events for a program that follows."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from unweave import events, terminal
from unweave.arguments import shown
from unweave.visible import one_line

Advance = Callable[[int], None]

_state = {"quiet": False}
_gathering: list[list[str]] = []
_said: set[str] = set()
_noted: set[str] = set()


def silence(quiet: bool = True) -> None:
    """Turn progress off or on for this process.

    Args:
        quiet: Whether to be silent.
    """
    _state["quiet"] = quiet


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Be silent for as long as the block lasts.

    Yields:
        Nothing.
    """
    before = silenced()
    silence()
    try:
        yield
    finally:
        silence(before)


@contextlib.contextmanager
def gathered() -> Iterator[list[str]]:
    """Show nothing for as long as the block lasts, and keep what would have been said: a function of the library returns it.

    Yields:
        The lines so far.
    """
    lines: list[str] = []
    _gathering.append(lines)
    try:
        yield lines
    finally:
        _gathering.pop()


def silenced() -> bool:
    """Whether progress is off."""
    return _state["quiet"]


@contextlib.contextmanager
def task(description: str, total: int) -> Iterator[Advance]:
    """Show the progress of one piece of work.

    Args:
        description: What is being done; nothing is shown where it is empty.
        total: How many units it has.

    Yields:
        A function that is called with the number of units just done.
    """
    if _gathering or total <= 0 or not description:
        yield lambda _: None
        return
    follow, end = events.follow(description, total)
    drawn = _bar if sys.stderr.isatty() else _lines
    shown = _nothing() if _state["quiet"] else drawn(description, total)

    def advance(count: int) -> None:
        follow(count)
        show(count)

    with contextlib.contextmanager(lambda: shown)() as show:
        try:
            yield advance
        finally:
            end()


def say(message: str) -> None:
    """A line for the user, on standard error.

    Args:
        message: The line.
    """
    if _gathering:
        _gathering[-1].append(message)
    else:
        events.write("say", text=shown(message))
        _show(message)


def say_once(message: str) -> None:
    """A line for the user that a command says once only, however often there is cause.

    Args:
        message: The line.
    """
    if _gathering:
        say(message)
        return
    if message not in _noted:
        _noted.add(message)
        events.write("say", text=shown(message))
    if not _state["quiet"] and message not in _said:
        _said.add(message)
        _show(message)


def begin(quiet: bool) -> None:
    """Begin a command: nothing has been said yet.

    Args:
        quiet: Whether to be silent.
    """
    _said.clear()
    _noted.clear()
    silence(quiet)


def _show(message: str) -> None:
    if not _state["quiet"]:
        terminal.warn(shown(message))


def _nothing() -> Iterator[Advance]:
    yield lambda _: None


def _bar(description: str, total: int) -> Iterator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # While a bar is drawn other lines go above it, through streams of rich's.
    with Progress(*columns, console=terminal.console(errors=True)) as progress, terminal.screens():
        identity = progress.add_task(one_line(description), total=total)
        yield lambda count: progress.advance(identity, count)


def _lines(description: str, total: int) -> Iterator[Advance]:
    done, said, start = 0, 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        tenth = min(10, done * 10 // total)
        if tenth > said:
            said = tenth
            _show(f"{description}: {done}/{total} ({time.monotonic() - start:.0f} s)")

    yield advance
