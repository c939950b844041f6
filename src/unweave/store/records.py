"""Which rows a store holds: its commits and deletions, as small JSON files beside the shards."""

import uuid
from collections.abc import Sequence
from pathlib import Path

from unweave.errors import StoreError
from unweave.files import read_json, write_json
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
                value = read_json(path, what="A commit of the store")
                try:
                    found.append(Commit(path.stem, tuple(value["row_ids"]), int(value["size"]), str(value["digest"])))
                except (KeyError, TypeError, ValueError) as error:
                    raise StoreError(
                        f"A commit lacks {error}.", where=str(path), remedy="remove it and cache its rows anew"
                    ) from error
            self._commits = without_superseded(found)
        return self._commits

    def deleted(self) -> set[str]:
        """Rows that were taken out and whose sketches are still on the disk."""
        if self._deleted is None:
            records = (read_json(path, what="A deletion of the store") for path in self.deletions())
            self._deleted = {row_id for record in records for row_id in record["row_ids"]}
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
