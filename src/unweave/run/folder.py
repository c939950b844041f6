"""The folder of a run: its resolved config, what it ran on, and its result once it is done.

`config.yaml` replays the run, `run.json` says on what it ran, `result.json` is written last and means that the run is complete. A rerun with the
same identity (see `unweave.run.identity`) returns that result; another run of the same command replaces it (see `unweave.outputs`).
"""

import contextlib
import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from unweave import __version__, progress
from unweave.config import dump_yaml
from unweave.data.reading import Problem, unused_of
from unweave.data.rows import Row
from unweave.errors import BusyError
from unweave.files import read_record, write_json, write_text
from unweave.joint import joined
from unweave.locks import locked
from unweave.outputs import overwriting, prepare, remove_working_folders
from unweave.ranges import require_in_range
from unweave.run.identity import identity_digest, libraries, options_of
from unweave.run.inputs import Inputs
from unweave.temporary import remove_stale

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "safetensors")
RESULT = "result.json"
LOCK = ".lock"
MODEL_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")
"""Without one of these a run that makes a model is not complete."""


class RunFolder:
    """One command's output folder.

    Args:
        folder: Where it is.
        command: The subcommand.
        config: Its dataclass.
        inputs: What it reads, by the options that name it: of these the content counts, of all other options the value.
        key: Names this command's files, where several share a folder.
    """

    def __init__(self, folder: Path, command: str, config: Any, *, inputs: Inputs, key: str = ""):
        # Configs that were made in Python have passed no command line.
        require_in_range(config)
        self.folder = folder
        self.command = command
        self.config = config
        self.inputs = inputs
        self.result_path = folder / (f"{key}.{RESULT}" if key else RESULT)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        # Once a run: what it began with is what its result is of, even when a file changes under it.
        found = {
            "command": self.command,
            "version": __version__,
            "config": options_of(self.config, self.inputs),
            "inputs": {name: one.content for name, one in self.inputs.items()},
            "libraries": libraries(),
        }
        return json.loads(json.dumps(found))

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same: see `unweave.run.identity`."""
        return self._identity

    @cached_property
    def digest(self) -> str:
        """A short name for the identity, for what is kept on the way."""
        return identity_digest(self.identity())

    @contextlib.contextmanager
    def held(self, *, here: bool = True) -> Iterator[None]:
        """Keep other processes out of the folder for as long as the block lasts.

        Args:
            here: Whether this process is the one that writes; of several that a launcher started only one is.

        Yields:
            Nothing.
        """
        busy = BusyError(
            "Another process is at work in this output folder.",
            where=str(self.folder),
            remedy="wait for it to end, or choose another output folder",
        )
        with locked(self.folder / LOCK, busy) if here else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def joined(self, key: str) -> Iterator[None]:
        """Make the folder ready, and work in it beside other processes at the same thing; others are refused for as long as one is at work.

        Args:
            key: What they have to have in common.

        Yields:
            Nothing.
        """
        busy = BusyError(
            "Another process is at work in this output folder, at something else.",
            where=str(self.folder),
            remedy="wait for it to end, or choose another output folder",
        )
        with joined(self.folder / LOCK, key, begin=self.start, busy=busy):
            yield

    def finished(self, *, files: Sequence[str] = ()) -> dict[str, Any] | None:
        """The result of an earlier, complete run with the same identity.

        Args:
            files: What the run leaves in its folder: without one of these it does not count as complete.

        Returns:
            The result, or `None`; always that where `--overwrite` asks for a fresh run.
        """
        if overwriting() or (files and not any((self.folder / name).is_file() for name in files)):
            return None
        try:
            stored = json.loads(self.result_path.read_text(encoding="utf-8"))
            earlier, result = dict(stored["identity"]), stored["result"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        now = self.identity()
        before = earlier.pop("libraries", {})
        if earlier != {name: value for name, value in now.items() if name != "libraries"}:
            return None
        remove_working_folders(self.folder, self.command)
        progress.say(f"{self.command}: {self.folder} is complete, nothing to do")
        if others := [f"{name} {before[name]}" for name in before if before[name] != now["libraries"].get(name)]:
            progress.say(
                f"  it was made with {', '.join(others)}; `overwrite` makes it anew with what is installed now"
            )
        return result

    def start(
        self,
        loaded: Any = None,
        *,
        rows: Sequence[Row] = (),
        problems: Sequence[Problem] = (),
        extra: dict[str, Any] | None = None,
        fingerprints: tuple[str, str] | None = None,
    ) -> None:
        """Make the folder ready, write `config.yaml` and `run.json`, and say which rows were dropped or cut.

        What an interrupted run of the same identity has left stays; what another run of the command has written goes.

        Args:
            loaded: The model, for its fingerprint.
            rows: The rows, for theirs.
            problems: What happened to rows on the way.
            extra: More to record.
            fingerprints: Of model and tokenizer, where they are there already.
        """
        reads = [path for one in self.inputs.values() for path in one.files]
        prepare(self.folder, self.command, self.digest, reads=reads)
        remove_stale(self.folder, below=False)
        self.result_path.unlink(missing_ok=True)
        write_text(self.folder / "config.yaml", dump_yaml(self.command, self.config))
        record = {
            "command": self.command,
            "identity": self.digest,
            "argv": sys.argv,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "environment": environment(),
            "seed": getattr(self.config, "seed", None),
            "rows": {"count": len(rows), "fingerprint": rows_fingerprint(rows), "unused": list(unused_of(rows))}
            if rows
            else None,
            "problems": [problem.__dict__ for problem in problems],
            **(extra or {}),
        }
        if loaded is not None:
            if fingerprints is None:
                from unweave.models.fingerprint import model_fingerprint, tokenizer_fingerprint

                fingerprints = model_fingerprint(loaded.model), tokenizer_fingerprint(loaded.tokenizer)
            record["model"] = {
                "base": loaded.base,
                "adapter": loaded.adapter,
                "dtype": str(loaded.model.dtype),
                "device": str(loaded.device),
                "fingerprint": fingerprints[0],
                "tokenizer": fingerprints[1],
            }
        write_json(self.folder / "run.json", record)
        report_problems(problems)

    def finish(self, result: dict[str, Any]) -> None:
        """Record that the run is complete, and remove what it kept on its way.

        Args:
            result: What it gave.
        """
        write_json(self.result_path, {"identity": self.identity(), "result": result})
        remove_working_folders(self.folder, self.command)


def result_on_this_machine(folder: Path) -> dict[str, Any] | None:
    """What a run gave that a machine like this one made: its seconds say what another run will take.

    Args:
        folder: The run's.

    Returns:
        Its result; `None` where there is no record of it, or of another machine.
    """
    run, result = folder / "run.json", folder / RESULT
    if not (run.is_file() and result.is_file()):
        return None
    then, now = read_record(run, what="The record of a run").get("environment", {}), environment()
    if any(then.get(name) != now[name] for name in ("system", "cpu", "cores")):
        return None
    return read_record(result, what="The result of a run")["result"]


def report_problems(problems: Sequence[Problem], *, shown: int = 5) -> None:
    """Say which rows were dropped, cut, renamed, or had a part left out; the full list goes into `run.json`.

    Args:
        problems: What happened.
        shown: How many to name of each kind.
    """
    for action in ("dropped", "cut", "renamed", "ignored"):
        these = [problem for problem in problems if problem.action == action]
        if these:
            progress.say(f"{len(these)} row(s) {action}:")
            for problem in these[:shown]:
                progress.say(f"  {problem.place}: {problem.reason}")
            if len(these) > shown:
                progress.say(f"  and {len(these) - shown} more (all of them in run.json)")


def environment() -> dict[str, Any]:
    """Versions, commit and hardware, for `run.json` and benchmark results.

    Returns:
        A JSON object.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "unweave": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": _threads(),
    }


def rows_fingerprint(rows: Sequence[Row]) -> str:
    """A hash of the ids and contents of rows.

    Args:
        rows: The rows.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(json.dumps([row.id, *row.content], ensure_ascii=False, default=str).encode())
    return digest.hexdigest()


def _commit() -> str | None:
    """The commit of the source tree, when unweave runs from one."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None
