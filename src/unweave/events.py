"""What a command does, for a program that follows it: lines of JSON, appended to the file that `UNWEAVE_EVENTS` names, beside what the command shows.

Each line is an object with `kind` and `time` (seconds since 1970):

    progress   `what`, `done` and `total` of a piece of work, at most five a second; its last line has `ended`
    say        `text`: a sentence for people
    losses     `step`, `forget`, `retain` and `target`: measurements of a run that forgets, in nats a token; step 0 begins a run

Whoever follows may ask for an end: a file of the same name with `.stop` behind it ends a run that forgets after its step, with the best step kept, and
no further attempt is begun. A file that can't be written is no error of the work.
"""

import json
import math
import os
import time
from collections.abc import Callable

VARIABLE = "UNWEAVE_EVENTS"
STOP = ".stop"
EACH = 0.2
"""Seconds between two lines about the same piece of work."""


def path() -> str | None:
    """The file that events go to; `None` where nobody follows, and in all processes of a launcher but the first."""
    return os.environ.get(VARIABLE) or None if os.environ.get("RANK", "0") == "0" else None


def write(kind: str, **content: str | float | bool | None) -> None:
    """Append an event: a whole line, in one write.

    Args:
        kind: What happened.
        **content: Details; numbers that are not finite become null.
    """
    place = path()
    if place is None:
        return
    event = {"kind": kind, **content, "time": time.time()}
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in event.items()
    }
    line = json.dumps(plain).encode() + b"\n"
    try:
        file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)
    except OSError:
        pass  # Nobody may follow any more; the work goes on.


def stop_is_asked() -> bool:
    """Whether somebody who follows the command has asked it to end with what it has."""
    place = path()
    return place is not None and os.path.exists(place + STOP)  # noqa: PTH110  # once a step: no object for it


def follow(what: str, total: int) -> tuple[Callable[[int], None], Callable[[], None]]:
    """Write down the progress of a piece of work.

    Args:
        what: What is being done.
        total: How many units it has.

    Returns:
        A function to call with the number of units just done, and one to call at the end.
    """
    if path() is None:
        return lambda _: None, lambda: None
    done, written = 0, time.monotonic()
    write("progress", what=what, done=0, total=total)

    def advance(count: int) -> None:
        nonlocal done, written
        done += count
        if (now := time.monotonic()) - written >= EACH:
            written = now
            write("progress", what=what, done=done, total=total)

    return advance, lambda: write("progress", what=what, done=done, total=total, ended=True)
