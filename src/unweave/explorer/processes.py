"""Long jobs that the explorer starts: each is a folder, and processes of the command line that outlive the server."""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unweave.errors import BusyError, DataError
from unweave.events import STOP
from unweave.explorer.following import Follower, Progress
from unweave.explorer.runner import ENDED, EVENTS, EXIT, LOCK, OUTPUT, RUN, held, is_held
from unweave.files import read_record, read_record_if_any, write_json
from unweave.locks import locked

RUNNING, DONE, NOT_FORGOTTEN, FAILED, INTERRUPTED = "running", "done", "not forgotten", "failed", "interrupted"
CODES = {0: DONE, 3: NOT_FORGOTTEN, 130: INTERRUPTED, -signal.SIGINT: INTERRUPTED, -signal.SIGTERM: INTERRUPTED}
"""Exit code to state; of any other a run has failed."""

PROGRAM = ("-m", "unweave.cli.main")
CANCELLED, STARTING = "cancelled", "starting.lock"
LINES, BYTES = 200, 2**17
NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")
OTHER = BusyError(
    "Another run is at work: one writes at a time.", where="Runs", remedy="wait for its end, or cancel it"
)


@dataclass(frozen=True)
class Run:
    """A long job.

    Attributes:
        id: Its name.
        folder: Where it is kept.
        title: What it does, in words.
        commands: Its command lines, in order.
        about: What it is about, for links: names to values.
        started: When, in seconds since 1970.
        state: `running`, `done`, `not forgotten`, `failed` or `interrupted`.
        code: The exit code of the command that ended it.
        ended: When; `None` while it runs, and of a run that was killed.
        made: How many of its commands have ended well.
        stopping: Whether it was asked to end with what it has.
    """

    id: str
    folder: Path
    title: str
    commands: list[list[str]]
    about: dict[str, str]
    started: float
    state: str
    code: int | None
    ended: float | None
    made: int
    stopping: bool

    @property
    def is_running(self) -> bool:
        """Whether it is at work."""
        return self.state == RUNNING

    @property
    def can_go_on(self) -> bool:
        """Whether what is left of it can be run: after an interruption, and after a failure whose cause is mended."""
        return self.state in (INTERRUPTED, FAILED)

    def output(self) -> list[str]:
        """The last lines that it has printed."""
        try:
            with (self.folder / OUTPUT).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        return list(deque(text.splitlines(), LINES))

    def error(self) -> str:
        """What it has said at its end, where it failed: the error, or its last line."""
        lines = self.output()
        place = next((place for place in reversed(range(len(lines))) if lines[place].startswith("error: ")), None)
        said = lines[place:] if place is not None else [line for line in lines if line.strip()][-1:]
        return "\n".join(said).removeprefix("error: ")


class Processes:
    """The long jobs of a work folder.

    Args:
        folder: Where each has a folder of its own.
        program: What runs a command line, as arguments of Python.
    """

    def __init__(self, folder: Path, *, program: Sequence[str] = PROGRAM):
        self.folder = folder
        self.program = list(program)
        self._followers: dict[str, Follower] = {}

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        folders = [path.parent for path in self.folder.glob(f"*/{RUN}") if NAME.fullmatch(path.parent.name)]
        return [self._read(folder) for folder in sorted(folders, key=lambda folder: folder.name, reverse=True)]

    def run(self, name: str) -> Run:
        """A run.

        Args:
            name: Its id.

        Returns:
            The run.

        Raises:
            DataError: When there is none.
        """
        if not NAME.fullmatch(name) or not (self.folder / name / RUN).is_file():
            raise DataError("There is no such run.", where=name, remedy="see the list of runs")
        return self._read(self.folder / name)

    def running(self) -> Run | None:
        """The run that is at work, if any."""
        return next((run for run in self.runs() if run.is_running), None)

    def progress(self, run: Run) -> Progress:
        """How far a run is.

        Args:
            run: The run.

        Returns:
            What its events say.
        """
        return self._followers.setdefault(run.id, Follower(run.folder / EVENTS)).progress()

    def new_folder(self) -> Path:
        """A folder for a run that is about to start, where files of its commands may be put."""
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        (self.folder / name).mkdir(parents=True)
        return self.folder / name

    def start(
        self, title: str, commands: Sequence[Sequence[str]], *, about: Mapping[str, str], folder: Path | None = None
    ) -> Run:
        """Start a run.

        Args:
            title: What it does, in words.
            commands: Command lines, without the program's name.
            about: What it is about, for links.
            folder: From `new_folder`.

        Returns:
            The run; it is at work.

        Raises:
            BusyError: When another is at work.
        """
        with locked(self.folder / STARTING):
            self.require_free()
            folder = folder or self.new_folder()
            record = {
                "title": title,
                "program": self.program,
                "commands": [list(command) for command in commands],
                "about": dict(about),
                "started": time.time(),
                "cwd": str(Path.cwd()),
            }
            write_json(folder / RUN, record)
            self._launch(folder)
        return self.run(folder.name)

    def go_on(self, name: str) -> Run:
        """Run what is left of a run.

        Args:
            name: Its id.

        Returns:
            The run; it is at work.

        Raises:
            BusyError: When one is at work, this or another.
            DataError: When nothing is left of it.
        """
        with locked(self.folder / STARTING):
            self.require_free()
            run = self.run(name)
            if not run.can_go_on:
                raise DataError(f"The run is {run.state}.", where=name, remedy="there is nothing to go on with")
            for left in (EXIT, EVENTS + STOP, CANCELLED):
                (run.folder / left).unlink(missing_ok=True)
            self._launch(run.folder)
        return self.run(name)

    def stop(self, name: str) -> Run:
        """Ask a run to end with what it has: the best step so far.

        Args:
            name: Its id.

        Returns:
            The run.
        """
        run = self.run(name)
        if run.is_running:
            (run.folder / (EVENTS + STOP)).touch()
        return self.run(name)

    def cancel(self, name: str) -> Run:
        """Interrupt a run, which can go on later; one that was interrupted already and does not end is killed.

        Args:
            name: Its id.

        Returns:
            The run.
        """
        run = self.run(name)
        holder = read_record_if_any(run.folder / LOCK, what="The lock of the run") if run.is_running else None
        if holder is not None:
            again = (run.folder / CANCELLED).exists()
            (run.folder / CANCELLED).touch()
            # It may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(holder["process"]), signal.SIGKILL if again else signal.SIGINT)
        return self.run(name)

    def require_free(self) -> None:
        """Refuse to start beside another run.

        Raises:
            BusyError: When one is at work.
        """
        if (other := self.running()) is not None:
            raise BusyError(f"{OTHER.what} It is '{other.title}'.", where=OTHER.where, remedy=OTHER.remedy)

    def _launch(self, folder: Path) -> None:
        record = read_record(folder / RUN, what="The record of the run")
        with held(folder) as lock:
            if lock is None:
                raise OTHER
            child = subprocess.Popen(
                [sys.executable, "-m", "unweave.explorer.runner", str(folder.resolve()), str(lock.fileno())],
                cwd=record["cwd"] if Path(record["cwd"]).is_dir() else None,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )
            lock.truncate(0)
            lock.write(f'{{"process": {child.pid}}}')
            lock.flush()
        # Its end is waited for, so that nothing is left of it in the table of processes.
        threading.Thread(target=child.wait, daemon=True).start()

    def _read(self, folder: Path) -> Run:
        record = read_record(folder / RUN, what="The record of the run")
        # Asked in this order: a run that ends between the two has written its end.
        running = is_held(folder)
        ended = None if running else read_record_if_any(folder / EXIT, what="The end of the run")
        code = ended["code"] if ended else None
        state = RUNNING if running else INTERRUPTED if code is None else CODES.get(code, FAILED)
        made = read_record_if_any(folder / ENDED, what="The record of the run") or {"commands": 0}
        return Run(
            id=folder.name,
            folder=folder,
            title=record["title"],
            commands=record["commands"],
            about=record["about"],
            started=record["started"],
            state=state,
            code=code,
            ended=ended["time"] if ended else None,
            made=made["commands"],
            stopping=(folder / (EVENTS + STOP)).exists(),
        )
