"""The folder of a run: its resolved config, what it ran on, and its result once it is done.

`config.yaml` replays the run, `run.json` says on what it ran, `result.json` is written last and means that the run is complete. A rerun of the
same config on the same inputs returns that result; a rerun of another config replaces it.
"""

import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from unweave import __version__, progress
from unweave.config import dump_yaml, to_plain
from unweave.data.reading import Problem
from unweave.data.rows import Row
from unweave.files import file_digest, write_json, write_text

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "safetensors")
RESULT = "result.json"


class RunFolder:
    """One command's output folder.

    Args:
        folder: Where it is.
        command: The subcommand.
        config: Its dataclass.
        key: Names this command's files, where several share a folder.
    """

    def __init__(self, folder: Path, command: str, config: Any, *, key: str = ""):
        self.folder = folder
        self.command = command
        self.config = config
        self.result_path = folder / (f"{key}.{RESULT}" if key else RESULT)

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same: the command, the config, and the content of the files that it names."""
        plain = to_plain(self.config)
        return {"command": self.command, "version": __version__, "config": plain, "inputs": _input_digests(plain)}

    def finished(self, *, files: Sequence[str] = ()) -> dict[str, Any] | None:
        """The result of an earlier, complete run with the same identity.

        Args:
            files: What the run leaves in its folder: without one of these it does not count as complete.

        Returns:
            The result, or `None`.
        """
        if not self.result_path.is_file() or (files and not any((self.folder / name).is_file() for name in files)):
            return None
        try:
            stored = json.loads(self.result_path.read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            return None
        if stored.get("identity") != json.loads(json.dumps(self.identity())):
            return None
        progress.say(f"{self.command}: {self.folder} is complete, nothing to do")
        return stored["result"]

    def start(
        self,
        loaded: Any = None,
        *,
        rows: Sequence[Row] = (),
        problems: Sequence[Problem] = (),
        extra: dict[str, Any] | None = None,
        fingerprints: tuple[str, str] | None = None,
    ) -> None:
        """Write `config.yaml` and `run.json`, and say which rows were dropped or cut.

        Args:
            loaded: The model, for its fingerprint.
            rows: The rows, for theirs.
            problems: What happened to rows on the way.
            extra: More to record.
            fingerprints: Of model and tokenizer, where they are known already.
        """
        self.result_path.unlink(missing_ok=True)
        write_text(self.folder / "config.yaml", dump_yaml(self.command, self.config))
        record = {
            "command": self.command,
            "argv": sys.argv,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "environment": environment(),
            "seed": getattr(self.config, "seed", None),
            "rows": {"count": len(rows), "fingerprint": rows_fingerprint(rows)} if rows else None,
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
        """Record that the run is complete.

        Args:
            result: What it gave.
        """
        write_json(self.result_path, {"identity": self.identity(), "result": result})


def identity_digest(identity: dict[str, Any]) -> str:
    """A short name for what makes two runs the same, for what is kept on the way.

    Args:
        identity: From `RunFolder.identity`.

    Returns:
        32 hexadecimal digits.
    """
    return hashlib.blake2b(json.dumps(identity, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def report_problems(problems: Sequence[Problem], *, shown: int = 5) -> None:
    """Say which rows were dropped, cut or renamed; the full list goes into `run.json`.

    Args:
        problems: What happened.
        shown: How many to name of each kind.
    """
    for action in ("dropped", "cut", "renamed"):
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


def _input_digests(plain: dict[str, Any]) -> dict[str, str]:
    """Digests of the files that a config names, so that a changed input is another run."""
    digests = {}
    for key, value in plain.items():
        if not isinstance(value, str) or key in ("output_dir", "out_forget", "out_retain"):
            continue
        path = Path(value)
        for file in (path, path / RESULT, path / "adapter_model.safetensors"):
            if len(value) < 1024 and file.is_file():
                digests[f"{key}:{file.name}"] = file_digest(file)
    return digests


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
