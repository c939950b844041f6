"""Which rows a store holds: its commits and deletions, as small JSON files beside the shards."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unweave.errors import StoreError
from unweave.files import read_record, write_json
from unweave.store.shards import Commit, records_in, without_superseded


class Records:
    """The commits and deletions of a store, read once and kept.

    Args:
        folder: The store's folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._commits: list[Commit] | None = None
        self._deleted: set[str] | None = None
        self._present: set[str] | None = None

    def commits(self) -> list[Commit]:
        """The committed shards, in the order of their names, which is that of their making."""
        if self._commits is None:
            found = []
            for path in records_in(self.folder / "commits"):
                value = read_record(path, what="A commit of the store")
                try:
                    found.append(_commit(path, value))
                except (KeyError, TypeError, ValueError) as error:
                    raise StoreError(
                        f"A commit of the store is broken: {error}.",
                        where=str(path),
                        remedy="remove it and cache its rows anew",
                    ) from error
            self._commits = without_superseded(found)
        return self._commits

    def deleted(self) -> set[str]:
        """Rows that were taken out and whose sketches are still on the disk."""
        if self._deleted is None:
            gone: set[str] = set()
            for path in self.deletions():
                try:
                    gone.update(_row_ids(read_record(path, what="A deletion of the store")))
                except (KeyError, TypeError) as error:
                    raise StoreError(
                        f"A deletion of the store is broken: {error}. Which rows were taken out is not known.",
                        where=str(path),
                        remedy="restore it from a backup, or cache the rows that are to stay into a new store",
                    ) from error
            self._deleted = gone
        return self._deleted

    def row_ids(self) -> list[str]:
        """The rows in the store, in scan order."""
        gone = self.deleted()
        return [row_id for commit in self.commits() for row_id in commit.row_ids if row_id not in gone]

    def refresh(self) -> None:
        """Forget what was read of commits and deletions, so that those of other processes are seen."""
        self._commits = self._deleted = self._present = None

    def pending(self, row_ids: Sequence[str]) -> list[str]:
        """Which of these rows are not in the store.

        Args:
            row_ids: Ids of rows.

        Returns:
            Those that no commit names, in their order.
        """
        present = self.names()
        return [row_id for row_id in row_ids if row_id not in present]

    def names(self) -> set[str]:
        """The rows in the store, for asking whether one is among them; do not change the set."""
        if self._present is None:
            self._present = set(self.row_ids())
        return self._present

    def next_unit(self) -> int:
        """A number above those of all commits."""
        return 1 + max((commit.unit for commit in self.commits()), default=-1)

    def publish(self, commit: Commit) -> None:
        """Write the commit of a shard that is on the disk: from now on its rows are in the store.

        Args:
            commit: The commit.
        """
        record = {"row_ids": list(commit.row_ids), "size": commit.size, "digest": commit.digest}
        write_json(self.folder / "commits" / f"{commit.name}.json", record)
        self.commits().append(commit)
        self.names().update(commit.row_ids)

    def withdraw(self, commit: Commit) -> None:
        """Take a shard out: its commit first, so that no commit names a shard that is gone.

        Args:
            commit: The commit.
        """
        (self.folder / "commits" / f"{commit.name}.json").unlink()
        self.shard_path(commit.name).unlink(missing_ok=True)

    def shard_path(self, name: str) -> Path:
        """The file of a shard.

        Args:
            name: The shard's.

        Returns:
            Its path.
        """
        return self.folder / "shards" / f"{name}.safetensors"

    def delete(self, row_ids: Sequence[str]) -> None:
        """Take rows out of the store. From now on no scan finds them; `compact` removes what is left of them on the disk.

        Args:
            row_ids: Their ids; each must be in the store.
        """
        self.require_rows(row_ids)
        if not row_ids:
            return
        (self.folder / "deletions").mkdir(exist_ok=True)
        name = f"{len(self.deletions()):06d}-{uuid.uuid4().hex[:8]}.json"
        write_json(self.folder / "deletions" / name, {"row_ids": list(row_ids)})
        self.refresh()

    def deletions(self) -> list[Path]:
        """The records of deletions that are not compacted away."""
        return records_in(self.folder / "deletions")

    def require_rows(self, row_ids: Sequence[str]) -> None:
        """Refuse to go on when rows are missing.

        Args:
            row_ids: Their ids.

        Raises:
            StoreError: Naming one that is not in the store.
        """
        if missing := self.pending(row_ids):
            raise StoreError(
                f"{len(missing)} row(s) are not in the store, such as '{missing[0]}'.",
                where=str(self.folder),
                remedy="cache them first",
            )


def _commit(path: Path, record: dict[str, Any]) -> Commit:
    commit = Commit(path.stem, _row_ids(record), int(record["size"]), str(record["digest"]))
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
