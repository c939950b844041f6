"""A store in memory: the same rows, formats and scans as on a disk, for as long as the program holds it."""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from unweave.data.rows import Row
from unweave.store.base import Store
from unweave.store.format import StoreSpec
from unweave.store.shards import Commit
from unweave.store.texts import text_of


class MemoryStore(Store):
    """A store that nothing is written of. What is deleted, or replaced by other content, is gone at once.

    Args:
        spec: How the sketches are made.
    """

    def __init__(self, spec: StoreSpec):
        super().__init__()
        self.spec = spec
        self._shards: dict[str, tuple[Commit, dict[str, Tensor]]] = {}
        self._texts: dict[str, dict[str, Any]] = {}

    @property
    def place(self) -> str:
        """Where the store is, for messages."""
        return "the index in memory"

    def commits(self) -> list[Commit]:
        """The shards, in the order of their making."""
        return [commit for commit, _ in self._shards.values()]

    def deleted(self) -> set[str]:
        """Rows that were taken out and whose sketches are still there: none."""
        return set()

    def column_of(self, commit: Commit, name: str, rows: slice) -> np.ndarray:
        """Some rows of a shard's tensor.

        Args:
            commit: The shard.
            name: `sketches`, `scales`, `lengths`, `norms` or `losses`.
            rows: Which of its rows.

        Returns:
            The values, not copied.
        """
        return self._shards[commit.name][1][name][rows].numpy()

    def write_shard(
        self, unit: int, row_ids: tuple[str, ...], tensors: dict[str, Tensor], *, contents: tuple[str, ...] = ()
    ) -> None:
        """Add a shard.

        Args:
            unit: The number of the unit of work that it comes from.
            row_ids: Its rows; they take the place of rows of the same ids.
            tensors: What it holds of them.
            contents: A digest of what each is.
        """
        self._drop(set(row_ids))
        size = sum(tensor.nbytes for tensor in tensors.values())
        commit = Commit(f"{unit:06d}-memory", row_ids, size, "", contents)
        self._shards[commit.name] = (commit, {name: tensor.contiguous().cpu() for name, tensor in tensors.items()})
        self.refresh()

    @contextlib.contextmanager
    def writing(self) -> "Iterator[MemoryStore]":
        """Hold the store for writing: there is nobody to hold it against.

        Yields:
            The store.
        """
        yield self

    def delete(self, row_ids: Sequence[str]) -> None:
        """Take rows out of the store, with all that it holds of them.

        Args:
            row_ids: Their ids; each must be in the store.
        """
        self.require_rows(row_ids)
        self.take_out(set(row_ids))

    def take_out(self, row_ids: Collection[str]) -> None:
        """Take rows out, where they are there.

        Args:
            row_ids: Their ids.
        """
        self._drop(set(row_ids))
        for row_id in row_ids:
            self._texts.pop(row_id, None)

    def keep_texts(self, rows: Sequence[Row], contents: Mapping[str, str]) -> None:
        """Keep the texts of rows, in place of others under their ids.

        Args:
            rows: The rows.
            contents: Row id to the digest of what it is.
        """
        self._texts |= {row.id: text_of(row, contents.get(row.id)) for row in rows}

    def texts(self) -> dict[str, dict[str, Any]]:
        """The texts of the rows.

        Returns:
            Row id to its text, see `read_texts`.
        """
        return dict(self._texts)

    def _drop(self, row_ids: set[str]) -> None:
        for name, (commit, tensors) in list(self._shards.items()):
            if row_ids.isdisjoint(commit.row_ids):
                continue
            kept = [place for place, row_id in enumerate(commit.row_ids) if row_id not in row_ids]
            if not kept:
                del self._shards[name]
                continue
            left = {key: tensor[kept] for key, tensor in tensors.items()}
            ids, own = ([held[place] for place in kept] if held else [] for held in (commit.row_ids, commit.contents))
            size = sum(tensor.nbytes for tensor in left.values())
            self._shards[name] = (Commit(name, tuple(ids), size, "", tuple(own)), left)
        self.refresh()
