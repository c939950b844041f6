"""Which rows a store holds: its commits and deletions, as small JSON files beside the shards."""

import contextlib
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unweave.errors import DataError, StoreError
from unweave.files import read_record, write_json
from unweave.replacing import observed, remove
from unweave.store.base import Store
from unweave.store.log import LOG, Log
from unweave.store.pinned import Pinned
from unweave.store.shards import Commit, records_in, without_superseded

ATTEMPTS = 100
"""A compaction changes one shard after another, and a reader must get past each."""

INDEX = "index"
"""Folder of the approximate indexes of a store, which are made from its sketches."""


class Records(Store):
    """The commits and deletions of a store in a folder, read once and kept.

    Args:
        folder: The store's folder.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        self.pinned = Pinned()
        self.log = Log(folder)
        self._commits: list[Commit] | None = None
        self._deleted: set[str] | None = None

    @property
    def place(self) -> str:
        """Where the store is, for messages."""
        return str(self.folder)

    def refresh(self) -> None:
        """Forget what was read of commits and deletions, so that those of other processes are seen."""
        super().refresh()
        self._commits = self._deleted = None

    def commits(self) -> list[Commit]:
        """The committed shards, in the order of their names, which is that of their making."""
        if self._commits is None:
            self._read()
        assert self._commits is not None, "they were read"
        return self._commits

    def deleted(self) -> set[str]:
        """Rows that were taken out and whose sketches are still on the disk."""
        if self._deleted is None:
            self._read()
        assert self._deleted is not None, "they were read"
        return self._deleted

    def _read(self) -> None:
        """Read deletions and commits, and map the shards; again, where a compaction has taken one away on the way.

        Deletions come first: a compaction removes them last, so a row that was deleted is never seen again between the two.

        Raises:
            DataError: When a record is broken.
        """
        cached: dict[Path, Commit] = {}
        for left in range(ATTEMPTS, -1, -1):
            try:
                gone = self.deletions()
                deleted = {row_id for path in gone for row_id in read_deletion(path)}
                listed = self.committed()
                denied = self._denied([*gone, *(path for path in listed if path not in cached)])
                cached = {path: cached.get(path) or read_commit(path) for path in listed}
            except DataError as error:
                if left and isinstance(error.__cause__, FileNotFoundError):
                    continue
                raise
            if denied is not None:
                if left and (gone, listed) != (self.deletions(), self.committed()):
                    cached = {}
                    continue
                error = not_vouched(self.folder, denied)
                raise error
            commits = without_superseded(list(cached.values()))
            absent = self.pinned.take(commits, self.folder / "shards")
            withdrawn = any(not self.commit_path(commit.name).is_file() for commit in absent)
            self._deleted, self._commits = deleted, commits
            if not (withdrawn or _rewritten(listed, self.committed())):
                break

    def _denied(self, records: Sequence[Path]) -> str | None:
        """The first of some records that is not what the log says, or that the log names and is not there."""
        if self.log.promised() and not self.log.exists():
            return LOG
        denied = next((path for path in [self.folder / "store.json", *records] if self.log.denies(path)), None)
        if denied is not None:
            return denied.relative_to(self.folder).as_posix()
        return next((name for name in self.log.lost() if name.startswith(("commits/", "deletions/"))), None)

    def committed(self) -> list[Path]:
        """The records of commits, those too that a compaction has replaced."""
        return records_in(self.folder / "commits")

    def publish(self, commit: Commit) -> None:
        """Write the commit of a shard that is on the disk: from now on its rows are in the store.

        Args:
            commit: The commit.
        """
        record: dict[str, Any] = {"row_ids": list(commit.row_ids), "size": commit.size, "digest": commit.digest}
        if commit.contents:
            record["contents"] = list(commit.contents)
        present = self.names()
        with self.noting():
            write_json(self.commit_path(commit.name), record)
        self.commits().append(commit)
        self._newest = None
        present.update(commit.row_ids)

    def withdraw(self, commit: Commit) -> None:
        """Take a shard out: its commit first, so that no commit names a shard that is gone.

        Args:
            commit: The commit.
        """
        self.withdraw_named(commit.name)

    def withdraw_named(self, name: str) -> None:
        """Take a shard out whose commit may be broken.

        Args:
            name: The shard's.
        """
        with self.noting():
            remove(self.commit_path(name))
            remove(self.shard_path(name))

    def noting(self) -> contextlib.AbstractContextManager[None]:
        """Let the store's log vouch for what is written in the block."""
        # A store of before gets its log from the next writer that holds it, whole.
        return observed(self.folder, self.log.noting) if self.log.exists() else contextlib.nullcontext()

    def shard_path(self, name: str) -> Path:
        """The file of a shard.

        Args:
            name: The shard's.

        Returns:
            Its path.
        """
        return self.folder / "shards" / f"{name}.safetensors"

    def commit_path(self, name: str) -> Path:
        """The file of a commit.

        Args:
            name: Its name, which is the shard's.

        Returns:
            Its path.
        """
        return self.folder / "commits" / f"{name}.json"

    def delete(self, row_ids: Sequence[str]) -> None:
        """Take rows out of the store. From now on no scan finds them; `compact` removes what is left of them on the disk.

        Args:
            row_ids: Their ids; each must be in the store.
        """
        self.require_rows(row_ids)
        if not row_ids:
            return
        self.drop_index()
        (self.folder / "deletions").mkdir(exist_ok=True)
        name = f"{len(self.deletions()):06d}-{uuid.uuid4().hex[:8]}.json"
        with self.noting():
            write_json(self.folder / "deletions" / name, {"row_ids": list(row_ids)})
        self.refresh()

    def drop_index(self) -> None:
        """Take the approximate indexes away: they hold sketches of their own, and are made anew when they are asked for.

        Raises:
            StoreError: When the system does not let them go.
        """
        with self.noting():
            for path in (self.folder / INDEX).glob("*"):
                with contextlib.suppress(OSError):
                    remove(path)
        shutil.rmtree(self.folder / INDEX, ignore_errors=True)
        if (self.folder / INDEX).exists():
            raise StoreError(
                "The approximate index can't be removed, and may hold what was deleted.",
                where=str(self.folder / INDEX),
                remedy="remove the folder, then run `unweave store compact`",
            )

    def deletions(self) -> list[Path]:
        """The records of deletions that are not compacted away."""
        return records_in(self.folder / "deletions")


def not_vouched(folder: Path, name: str) -> StoreError:
    """The error for a file that is not what it was when unweave wrote it.

    Args:
        folder: The store's folder.
        name: The file's name within it.

    Returns:
        The error.
    """
    return StoreError(
        f"'{name}' is not what the store's log says: what this store says can't be trusted.",
        where=str(folder),
        remedy="run `unweave store check`, which says what is wrong and what to do",
    )


def _rewritten(before: list[Path], after: list[Path]) -> bool:
    """Whether commits were withdrawn or rewritten while they were listed, so that the list may lack both the old and the new; appended ones are later units."""
    newest = before[-1].name.partition("-")[0] if before else ""
    added = set(after) - set(before)
    return not set(before) <= set(after) or any(path.name.partition("-")[0] <= newest for path in added)


def read_commit(path: Path) -> Commit:
    """Read a commit.

    Args:
        path: Its file.

    Returns:
        The commit.

    Raises:
        StoreError: When it is broken.
    """
    value = read_record(path, what="A commit of the store")
    try:
        return _commit(path, value)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"A commit of the store is broken: {error}.", where=str(path), remedy="remove it and cache its rows anew"
        ) from error


def read_deletion(path: Path) -> tuple[str, ...]:
    """Read a deletion.

    Args:
        path: Its file.

    Returns:
        The rows that it takes out.

    Raises:
        StoreError: When it is broken.
    """
    value = read_record(path, what="A deletion of the store")
    try:
        return _row_ids(value)
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"A deletion of the store is broken: {error}. Which rows were taken out can't be read.",
            where=str(path),
            remedy="restore it from a backup, or cache the rows that are to stay into a new store",
        ) from error


def _commit(path: Path, record: dict[str, Any]) -> Commit:
    contents = tuple(map(str, record.get("contents") or ()))
    commit = Commit(path.stem, _row_ids(record), int(record["size"]), str(record["digest"]), contents)
    if contents and len(contents) != len(commit.row_ids):
        raise ValueError("it has not one digest for each row")
    if commit.unit < 0:
        raise ValueError("its name does not begin with the number of a unit")
    return commit


def _row_ids(record: dict[str, Any]) -> tuple[str, ...]:
    """The rows of a commit or a deletion.

    Args:
        record: What its file holds.

    Returns:
        Their ids.

    Raises:
        TypeError: When they are no list of ids.
    """
    ids = record["row_ids"]
    if not isinstance(ids, list) or not ids or not all(isinstance(row_id, str) for row_id in ids):
        raise TypeError("'row_ids' is no list of ids")
    return tuple(ids)
