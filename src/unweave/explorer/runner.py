"""Runs the commands of a long job one after the other, in a process of its own that outlives the server: `python -m unweave.explorer.runner FOLDER`.

The folder holds `run.json`, whose commands are run; `ended.json` says how many of them have ended well, which are not run again; `exit.json` comes last.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from unweave import events
from unweave.files import read_record, read_record_if_any, write_json

RUN, ENDED, EXIT, LOCK = "run.json", "ended.json", "exit.json", "lock"
EVENTS, OUTPUT = "events.jsonl", "output.txt"
TRIES, BETWEEN = 50, 0.02


@contextlib.contextmanager
def held(folder: Path) -> Iterator[TextIO | None]:
    """Hold a run's lock; processes that are given the open file hold it too, until the last of them ends.

    Args:
        folder: The run's.

    Yields:
        The open file; `None` where others hold it.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as lock:
        # Whoever looks whether it is held has it for a moment.
        for _ in range(TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(BETWEEN)
            else:
                yield lock
                return
        yield None


def is_held(folder: Path) -> bool:
    """Whether somebody is at work on a run.

    Args:
        folder: The run's.

    Returns:
        The answer.
    """
    try:
        with (folder / LOCK).open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def run(folder: Path, lock: int) -> int:
    """Run what is left of a run's commands.

    Args:
        folder: The run's.
        lock: The open file of its lock, which is held.

    Returns:
        The exit code of the last one.
    """
    # The commands are interrupted, and end as they do in a terminal; what they came to is still to be written down.
    signal.signal(signal.SIGINT, lambda *_: None)
    record = read_record(folder / RUN, what="The record of the run")
    ended = (read_record_if_any(folder / ENDED, what="The record of the run") or {"commands": 0})["commands"]
    environment = os.environ | {
        events.VARIABLE: str(folder / EVENTS),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    os.environ[events.VARIABLE] = environment[events.VARIABLE]
    code = 0
    with (folder / OUTPUT).open("ab") as output:
        for number, command in enumerate(record["commands"][ended:], start=ended):
            events.write("command", number=number)
            words = [sys.executable, *record["program"], *command]
            code = subprocess.run(
                words, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, pass_fds=(lock,)
            ).returncode  # fmt: skip
            if code:
                break
            write_json(folder / ENDED, {"commands": number + 1})
    write_json(folder / EXIT, {"code": code, "time": time.time()})
    return code


def main(argv: Sequence[str]) -> int:
    """The program.

    Args:
        argv: The run's folder; and, from who has started it, the open file of the lock.

    Returns:
        The exit code.
    """
    folder = Path(argv[0])
    if len(argv) > 1:
        return run(folder, int(argv[1]))
    with held(folder) as lock:
        return 1 if lock is None else run(folder, lock.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
