"""What a run's events say, read as they come: how far it is, what it has said, and how the losses go."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_SAID, MOST_TASKS = 200, 40


@dataclass
class Task:
    """A piece of work of a run.

    Attributes:
        what: What is being done.
        done: Units done.
        total: Units that it has.
        began: When, in seconds since 1970.
        time: Of the last event.
        ended: Whether it is over.
    """

    what: str
    done: int
    total: int
    began: float
    time: float
    ended: bool = False

    @property
    def left(self) -> float | None:
        """Seconds that are left at the rate so far; `None` before anything can be said."""
        spent = self.time - self.began
        if self.ended or not self.done or spent <= 1:
            return None
        return spent * (self.total - self.done) / self.done


@dataclass(frozen=True)
class Losses:
    """What was measured at a step of forgetting, in nats a token.

    Attributes:
        step: Steps made.
        forget: Mean loss of the rows to forget.
        retain: Of the rows to keep; `None` without any.
        target: The loss at which the run ends; `None` without one.
    """

    step: int
    forget: float | None
    retain: float | None
    target: float | None


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        command: The number of the command that runs, from 0.
        tasks: Its pieces of work, in the order in which they began.
        said: What it has said, the newest last.
        attempts: The measurements of each attempt at forgetting.
    """

    command: int = 0
    tasks: list[Task] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    attempts: list[list[Losses]] = field(default_factory=list)

    @property
    def current(self) -> list[Task]:
        """The pieces of work that are not over."""
        return [task for task in self.tasks if not task.ended]

    def take(self, event: dict[str, Any]) -> None:
        """Take an event in.

        Args:
            event: The event.

        Raises:
            KeyError: When it lacks something.
        """
        kind = event["kind"]
        if kind == "command":
            self.command, self.tasks = int(event["number"]), []
        elif kind == "progress":
            self._work(event)
        elif kind == "say":
            self.said = [*self.said, str(event["text"])][-MOST_SAID:]
        elif kind == "losses":
            self._measured(Losses(*(event[name] for name in ("step", "forget", "retain", "target"))))

    def _work(self, event: dict[str, Any]) -> None:
        what, time = str(event["what"]), float(event["time"])
        task = next((one for one in reversed(self.tasks) if one.what == what and not one.ended), None)
        if task is None or event["done"] < task.done:
            task = Task(what, 0, int(event["total"]), time, time)
            self.tasks = [*(one for one in self.tasks if one.what != what or one.ended), task][-MOST_TASKS:]
        task.done, task.time, task.ended = int(event["done"]), time, bool(event.get("ended"))

    def _measured(self, point: Losses) -> None:
        if point.step == 0 or not self.attempts:
            self.attempts.append([])
        self.attempts[-1].append(point)
        # A run that goes on says again what it had measured before it was interrupted.
        if len(self.attempts) > 1 and self.attempts[-2] == self.attempts[-1][: len(self.attempts[-2])]:
            del self.attempts[-2]


class Follower:
    """Reads a file of events as it grows.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self._path, self._read = path, 0
        self._progress = Progress()
        self._lock = threading.Lock()

    def progress(self) -> Progress:
        """How far the run is, by all whole lines that there are now. What is no event is passed over."""
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    file.seek(self._read)
                    new = file.read()
            except FileNotFoundError:
                return self._progress
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                try:
                    self._progress.take(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    continue
            return self._progress
