"""What each command writes into its output folder, and how a folder is emptied for another run of it.

A folder belongs to the run whose `run.json` it holds. A run of the same command with another identity empties it first: of what that command wrote.
A folder of another command, or one with files of the same names and no record of a run, is refused. Files that no run wrote are never removed.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unweave import progress
from unweave.digests import MODEL_FILES, matching
from unweave.errors import ConfigError
from unweave.temporary import remove_folder

RECORD = "run.json"
HUMAN = ("README.md",)
MODEL = (*MODEL_FILES, "base.json", *HUMAN)
STORE = ("store.json", "rows.parquet", "shards/*.safetensors", "commits/*.json", "deletions/*.json", "index/*")
TRACKED = ("tensorboard/events.out.tfevents.*",)
SNAPSHOTS = "snapshots"
"""The folder of a run for the adapters that it had on the way."""

SHARDS, STAGE = "shards", "stage.json"
"""The folder of a run for the adapters of its stages, a folder a shard with one a slice in it; and the file there that says what a stage is of."""
SHOWN = 4


@dataclass(frozen=True)
class Writes:
    """The files of a command, as globs.

    Attributes:
        results: What it gives.
        parts: What it keeps on the way, each part with the identity of what it is of: harmless beside another run's.
        folders: Folders that hold nothing but its own working files.
        grows: Whether runs add to what is there, each in its own way guarded, so that nothing is emptied.
    """

    results: tuple[str, ...]
    parts: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    grows: bool = False

    @property
    def all(self) -> tuple[str, ...]:
        """Both kinds of files."""
        return self.results + self.parts


def _below(folder: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


WRITES: dict[str, Writes] = {
    "train": Writes(
        (
            *MODEL, *_below("base", MODEL), *_below("snapshots/*", MODEL), *_below(f"{SHARDS}/*/*", (*MODEL, STAGE)), "privacy.json",
            *_below("record", ("record.json", "steps.safetensors", "states/*.safetensors")), *TRACKED,
        ),
        folders=("checkpoints",),
    ),
    "forget": Writes(
        (*MODEL, *_below("base", MODEL), "privacy.json", "watch.json", *TRACKED), folders=("checkpoints",)
    ),
    "cache": Writes((), STORE, grows=True),
    "value fit": Writes(("student.json", "head.safetensors", *HUMAN, *_below("backbone", MODEL)), folders=(".fit",)),
    "value predict": Writes(("values*.parquet", "problems.jsonl"), folders=(".parts",)),
    "value curve": Writes(("curve.json",), ("runs/*.json",)),
    "audit": Writes(
        ("metrics.json", "audit.html", "retrained_logits.bin"), ("evidence.*.json", "attacks.*.json", "paraphrases.json", "answers.*.jsonl", "lm_eval.*.json")
    ),
    "fix": Writes(
        (
            "fix.json", "fix.html", "trace.html", "decisions.jsonl", "agreed.json", "request.json", "retain.jsonl", "clean.jsonl", "forget.jsonl",
            "others.jsonl", "ledger.key", "ledger/**/*",
        ),
        (*(f"{step}.json" for step in ("answer", "trace", "found", "collateral", "choice", "asked")), *_below("store", STORE), "audit/*"),
    ),
    "audit influence": Writes(("influence.json",), ("retraining/*.json", "controls/*.json")),
    "audit tofu": Writes(("eval_log_aggregated.json", "scores.json")),
    "bench forgetting": Writes(
        ("results.json", "table.md", "report.html"), ("runs/*.json", "before-*.json", "retrained-*.json", "reference-*.json")
    ),
    "bench attribution": Writes(
        ("results.json", "table.md", "report.html"),
        ("parts/*/*.safetensors", "parts/*/*/*.json"),
        folders=("worlds",),
    ),
    "demo": Writes(
        ("metrics.json", "trace.json", "report.html", "identity.json", "stages.json"),
        ("behaviour.*.json", "*_weights.jsonl", "case/*.json", "case/*.jsonl", *_below("store", STORE)),
    ),
}  # fmt: skip
"""Command to its files. A new command that keeps what it has done is one line here."""

OWN_RECORDS = (RECORD, "config.yaml", "result.json", "*.result.json")

_state = {"overwrite": False}


def run_folders(model: str | Path) -> list[Path]:
    """Where the run that made a model may have left its records: beside the model, or above it where the model is a snapshot.

    Args:
        model: The model's folder.

    Returns:
        The likeliest last.
    """
    folder = Path(model)
    return [folder, folder.parent.parent] if folder.parent.name == SNAPSHOTS else [folder]


def overwrite(yes: bool = True) -> None:
    """Let the runs of this process empty their output folders of whatever unweave has written there, and begin afresh.

    Args:
        yes: Whether they may.
    """
    _state["overwrite"] = yes


def overwriting() -> bool:
    """Whether runs may."""
    return _state["overwrite"]


def recorded(folder: Path) -> tuple[str, str | None] | None:
    """Whose folder it is.

    Args:
        folder: The folder.

    Returns:
        The command of its run, and the digest of that run's identity; `None` where no run has been here.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return str(record["command"]), record.get("identity")
    except (ValueError, KeyError, TypeError):
        # A file of that name that is no record of a run.
        return None


def prepare(folder: Path, command: str, digest: str, *, reads: Sequence[Path]) -> None:
    """Make a folder ready for a run: leave it as it is where it is that run's own, empty it of another run of the command, refuse it otherwise.

    Args:
        folder: The output folder.
        command: The command.
        digest: Of the run's identity.
        reads: Files that the run reads: what it is to replace must not be among them.

    Raises:
        ConfigError: When the folder is another command's, holds files that the run would replace and no run wrote, or holds what the run reads.
    """
    owner = recorded(folder)
    if WRITES[command].grows and (owner is None or owner[0] == command):
        return
    if owner is None:
        if foreign := [path.relative_to(folder).as_posix() for path in matching(folder, WRITES[command].all)]:
            raise ConfigError(
                f"The output folder holds files that `unweave {command}` would replace, and no record of a run that wrote them: {_some(foreign)}.",
                where=str(folder),
                remedy="choose another output folder, or move these files away",
            )
        return
    if owner == (command, digest) and not overwriting():
        return
    if owner[0] != command and (WRITES[command].grows or not overwriting()):
        raise ConfigError(
            f"The output folder holds a run of `unweave {owner[0]}`, and this is `unweave {command}`.",
            where=str(folder),
            remedy="choose another output folder, or pass `overwrite`, which removes what that run wrote",
        )
    if owner[0] not in WRITES:
        raise ConfigError(
            f"The output folder holds a run of `unweave {owner[0]}`, whose files are not known.",
            where=str(folder),
            remedy="choose another output folder",
        )
    old = WRITES[owner[0]]
    going = matching(folder, (*(old.all if overwriting() else old.results), *OWN_RECORDS))
    hidden = [folder / name for name in old.folders if (folder / name).is_dir()]
    read = {path.resolve() for path in reads}
    if both := [path for path in going if path.resolve() in read]:
        raise ConfigError(
            f"The run reads '{both[0].relative_to(folder)}', which belongs to the run that it would replace.",
            where=str(folder),
            remedy="choose another output folder",
        )
    shown = [path.relative_to(folder).as_posix() for path in going if not _is_record(path)]
    if shown or hidden:
        reason = "replaced (`overwrite`)" if overwriting() else "of other inputs, options or versions, and is replaced"
        progress.say(f"{command}: the earlier run in {folder} is {reason}: {_some(shown or [hidden[0].name])}")
    # What says that the run is complete goes first, and what says whose folder it is goes last: killed in between, this is done again.
    for path in sorted(going, key=lambda path: (path.name == RECORD, not path.name.endswith("result.json"))):
        path.unlink(missing_ok=True)
    remove_working_folders(folder, owner[0])
    for path in _emptied(folder, going):
        path.rmdir()


def remove_working_folders(folder: Path, command: str) -> None:
    """Remove what a run keeps on its way only: when its result is there, or another run takes its place.

    Args:
        folder: The output folder.
        command: The command.
    """
    for name in WRITES[command].folders if command in WRITES else ():
        remove_folder(folder / name)


def _is_record(path: Path) -> bool:
    return path.name in (RECORD, "config.yaml") or path.name.endswith("result.json")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _emptied(folder: Path, files: Sequence[Path]) -> Iterator[Path]:
    """Folders below the output folder that held these files and hold nothing now, the deepest first."""
    above = {parent for path in files for parent in path.parents if folder in parent.parents}
    for path in sorted(above, key=lambda path: -len(path.parts)):
        if path.is_dir() and not any(path.iterdir()):
            yield path
