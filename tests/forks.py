"""Processes that start at once: forks of one that has imported what takes seconds, for tests that kill one after another, or need several at once.

`fork_server` makes that process, itself a fork; `Forks` gives it a command, or several that run side by side. Where a command is to die is said by time, or
by the number of the change that it would make next to the disk: those are counted by an audit hook, which Python calls before a file is opened for writing,
renamed, linked or removed, before a folder is made or removed, and before a database is opened. A file that is opened for writing counts twice: before it is
there, and when it is there and empty.
"""

import contextlib
import importlib
import json
import logging
import os
import shlex
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

PRELOADED = ("peft", "transformers.models.llama.modeling_llama", "unweave.cli.main")
CHANGES = ("os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "sqlite3.connect")
WRITING = os.O_WRONLY | os.O_RDWR
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; the signal's number below zero where one killed it.
        seconds: How long it ran.
        changes: Of the disk, each as the event and the path; of a command that was killed, none are told.
        printed: What it wrote to stdout.
        errors: What it wrote to stderr.
    """

    code: int
    seconds: float
    changes: tuple[str, ...]
    printed: str
    errors: str


@dataclass(frozen=True)
class Server:
    """The process that forks.

    Attributes:
        pid: Its number.
        asked: What it is to do goes in here, a line for each.
        answers: And what came of it comes out here.
    """

    pid: int
    asked: TextIO
    answers: TextIO


def fork_server(filters: Sequence[Any]) -> Server:
    """Fork a process that forks others, of one that has imported the large libraries and nothing of unweave.

    It ends when this process does.

    Args:
        filters: Of warnings: those that the libraries have added while they were imported.

    Returns:
        The process.
    """
    mine, its = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            _become_server(filters, read=mine[0], write=its[1])
        except BaseException:
            traceback.print_exc()
        finally:
            # Never back into the tests.
            os._exit(1)
    os.close(mine[0])
    os.close(its[1])
    return Server(child, os.fdopen(mine[1], "w"), os.fdopen(its[0]))


def _become_server(filters: Sequence[Any], *, read: int, write: int) -> None:
    """Leave what is pytest's behind, and serve."""
    os.dup2(read, 0)
    os.dup2(write, 1)
    # Whoever waits for the end of one of pytest's own files must not wait for this process.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # From here on as in a new process, where nothing is captured and no warning is an error.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    for kept in logging._handlerList:
        handler = kept()
        if type(handler) is logging.StreamHandler:
            handler.stream = sys.stderr
    importlib.reload(warnings)
    warnings.filters[:0] = filters
    os.environ.update(ENVIRONMENT)
    os.chdir(Path(__file__).parents[1])
    serve()
    os._exit(0)


class Forks:
    """Runs commands in forks of a process that has imported them. Use it in a `with` block; the fixture `forks` is one for all tests of a process.

    Args:
        scratch: A folder for what commands print.
        process: What forks.
    """

    def __init__(self, scratch: Path, process: Server):
        self.scratch, self.process = scratch, process

    def __enter__(self) -> "Forks":
        self.scratch.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.asked.close()
        self.process.answers.close()
        os.waitpid(self.process.pid, 0)

    def start(
        self,
        line: str,
        *,
        folder: Path,
        at: int | None = None,
        by: int = signal.SIGKILL,
        after: float | None = None,
        before: str = "",
    ) -> None:
        """Begin a command, without waiting for it.

        Args:
            line: Its words, without `unweave`.
            folder: Where it runs.
            at: Send it a signal right before it makes this change to the disk, counted from 1.
            by: Which signal.
            after: Kill it with SIGKILL after so many seconds.
            before: Code that the process runs first.
        """
        self._start(Job(line, folder=folder, at=at, by=by, after=after, before=before))

    def _start(self, *jobs: "Job", ranks: bool = False) -> None:
        words = {"jobs": [asdict(job) for job in jobs], "ranks": ranks, "scratch": self.scratch}
        own = {**os.environ, **ENVIRONMENT}
        self.process.asked.write(json.dumps({**words, "environment": own}, default=str) + "\n")
        self.process.asked.flush()

    def end(self) -> Ended:
        """How the command that was begun first ended, once it has."""
        (ended,) = self.ends()
        return ended

    def ends(self) -> list[Ended]:
        """The same of those that were begun together."""
        answer = self.process.answers.readline()
        assert answer, "the process that forks has died"
        return [Ended(**{**found, "changes": tuple(found["changes"])}) for found in json.loads(answer)]

    def run(self, line: str, **options: Any) -> Ended:
        """Run a command to its end; arguments as of `start`."""
        self.start(line, **options)
        return self.end()

    def together(self, *lines: str, folder: Path) -> list[Ended]:
        """Run commands side by side, each to its end.

        Args:
            *lines: The words of each.
            folder: Where they run.

        Returns:
            How each ended.
        """
        self._start(*(Job(line, folder=folder) for line in lines))
        return self.ends()

    def programs(self, *programs: tuple[Any, ...], folder: Path, at: int | None = None) -> list[Ended]:
        """Run programs side by side, each to its end.

        Args:
            *programs: Of each its code, and the words that it finds in `sys.argv[1:]`.
            folder: Where they run.
            at: Kill each with SIGKILL right before it makes this change to the disk.

        Returns:
            How each ended.
        """
        self._start(*(Job("", folder=folder, at=at, before=code, words=words) for code, *words in programs))
        return self.ends()

    def start_ranks(self, count: int, line: str = "", *, folder: Path, program: tuple[Any, ...] = ("",)) -> None:
        """Begin a command in several processes with the environment that `torchrun` gives them.

        Args:
            count: How many.
            line: Its words; empty where it is a program.
            folder: Where they run.
            program: As of `programs`.
        """
        code, *words = program
        self._start(*(Job(line, folder=folder, before=code, words=words) for _ in range(count)), ranks=True)


@dataclass(frozen=True)
class Job:
    """What one process does: `before`, then the command of `line`; arguments as of `Forks.start`, with the words that `before` finds in `sys.argv[1:]`."""

    line: str
    folder: Path
    at: int | None = None
    by: int = signal.SIGKILL
    after: float | None = None
    before: str = ""
    words: Sequence[Any] = ()


def serve() -> None:
    """Fork for each job that stands on a line of stdin, and answer with a line."""
    for name in PRELOADED:
        importlib.import_module(name)
    for text in sys.stdin:
        ended = _forked(json.loads(text))
        # What a command imports is at hand for the next; importing computes nothing, so that forks stay safe.
        for name in sorted({name for answer in ended for name in answer.pop("modules")}):
            try:
                importlib.import_module(name)
            except Exception:  # a module that only comes with another's code, such as one made at run time
                sys.modules.pop(name, None)
        sys.stdout.write(json.dumps(ended) + "\n")
        sys.stdout.flush()


def _forked(asked: dict[str, Any]) -> list[dict[str, Any]]:
    started, scratch, jobs = time.monotonic(), Path(asked["scratch"]), asked["jobs"]
    ranks, children = _ranks(len(jobs)) if asked["ranks"] else [{} for _ in jobs], []
    for number, (job, rank) in enumerate(zip(jobs, ranks, strict=True)):
        told = scratch / f"forked{number}.json"
        told.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            _child(job, {**asked["environment"], **rank}, told)
        children.append((child, told))
    timers = [
        threading.Timer(job["after"], _kill, [child])
        for job, (child, _) in zip(jobs, children, strict=True)
        if job["after"] is not None
    ]
    for timer in timers:
        timer.start()
    answers = [_answer(os.waitpid(child, 0)[1], told, started) for child, told in children]
    for timer in timers:
        timer.cancel()
        timer.join()
    return answers


def _ranks(count: int) -> list[dict[str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    return [
        {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
        for rank in range(count)
    ]


def _answer(status: int, told: Path, started: float) -> dict[str, Any]:
    found = json.loads(told.read_text()) if told.is_file() else {"changes": [], "modules": []}
    printed, errors = (told.with_suffix(ending).read_text(errors="replace") for ending in (".out", ".err"))
    ended = {"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - started}
    return {**ended, "printed": printed, "errors": errors, **found}


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _child(job: dict[str, Any], environment: dict[str, str], told: Path) -> None:
    """Runs the command; never returns."""
    os.chdir(job["folder"])
    # As at a terminal, also where the tests run in the background of a shell, which lets such processes ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    printed, errors = told.with_suffix(".out"), told.with_suffix(".err")
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, printed, os.O_WRONLY), (2, errors, os.O_WRONLY)):
        os.dup2(os.open(path, flags | os.O_CREAT | (os.O_TRUNC if number else 0), 0o600), number)
    code = 1
    try:
        from unweave.cli.main import main

        os.environ.clear()
        os.environ.update(environment)
        # Looked up anew in the environment that it has now.
        tempfile.tempdir = None
        sys.argv = ["-c", *map(str, job["words"])]
        count = partial(_count, job["at"], job["by"], Path(job["folder"]))
        changes = [] if job["line"] else count()
        exec(job["before"], {"__name__": "__main__"})
        if job["line"]:
            known, changes = set(sys.modules), count()
            code = main(shlex.split(job["line"]))
        else:
            known, code = set(sys.modules), 0
        told.write_text(json.dumps({"changes": list(changes), "modules": sorted(set(sys.modules) - known)}))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        # Never back into the loop that serves.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _count(at: int | None, by: int, folder: Path) -> list[str]:
    """The changes to the disk below a folder, as they come; the process gets the signal before the one whose number is given."""
    found: list[str] = []
    within, dying = str(folder.resolve()), []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        opens = event == "open" and not isinstance(arguments[0], int) and arguments[2] & WRITING
        if dying or not (opens or event in CHANGES):
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else str(arguments[0])
        if path.startswith("/") and not path.startswith(within):
            return
        for torn in (False, True) if opens else (False,):
            found.append(f"{event} {path.removeprefix(within)}{', still empty' if torn else ''}")
            if len(found) == at:
                dying.append(at)
                if torn and by == signal.SIGKILL:
                    os.open(path, arguments[2] & ~os.O_EXCL | os.O_CREAT)
                os.kill(os.getpid(), by)

    sys.addaudithook(note)
    return found
