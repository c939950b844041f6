"""Shards: the files that hold sketches, the records that name them, and how rows are mapped from them."""

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unweave.errors import StoreError
from unweave.temporary import TEMPORARY_PREFIX

REPAIR = "run `unweave store repair`, and cache the same rows again"
BLOCK_BYTES = 1 << 25
DTYPES = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1"}


@dataclass(frozen=True)
class Commit:
    """One committed shard.

    Attributes:
        name: Of the shard and the commit.
        row_ids: Its rows, in the order of the shard.
        size: Bytes of the shard.
        digest: BLAKE2b of the shard.
        contents: A digest of what each row was when it was sketched; empty in commits made before these were kept.
    """

    name: str
    row_ids: tuple[str, ...]
    size: int
    digest: str
    contents: tuple[str, ...] = ()

    @property
    def unit(self) -> int:
        """The number of the unit of work that it came from; a name begins with it."""
        return int(self.name.partition("-")[0])


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one shard: a unit of a scan, which any thread may map and read.

    Attributes:
        commit: The shard.
        rows: Which of its rows.
        kept: Positions in the block of the rows that are still in the store, the others being deleted or replaced; `None` for all.
    """

    commit: Commit
    rows: slice
    kept: tuple[int, ...] | None

    @property
    def row_ids(self) -> list[str]:
        """The ids of the kept rows."""
        ids = self.commit.row_ids[self.rows]
        return list(ids) if self.kept is None else [ids[position] for position in self.kept]


@dataclass(frozen=True)
class Stored:
    """Sketches as they are on the disk.

    Attributes:
        values: Numbers in the store's format, mapped from the file: nothing is read before it is touched.
        scales: One scale a row.
        lengths: Euclidean norm of each sketch.
    """

    values: np.ndarray
    scales: Float[Tensor, " n"]
    lengths: Float[Tensor, " n"]


Layout = dict[str, tuple[np.dtype, int, tuple[int, ...]]]
"""Name of a shard's tensor to its type, first byte and shape."""


@functools.lru_cache(maxsize=65536)
def layout_of(path: Path) -> Layout:
    """Where a shard's tensors are; shards do not change, so it is read once.

    Args:
        path: The shard.

    Returns:
        Type, first byte and shape of each tensor.
    """
    with path.open("rb") as file:
        head = file.read(8)
        return layout_in(head + file.read(int.from_bytes(head, "little")), path.stat().st_size, path)


def layout_in(head: bytes, size: int, path: Path) -> Layout:
    """Where a shard's tensors are.

    Args:
        head: Its first bytes, the header at least.
        size: All its bytes.
        path: The shard, for errors.

    Returns:
        Type, first byte and shape of each tensor.

    Raises:
        StoreError: When its header is broken.
    """
    try:
        length = int.from_bytes(head[:8], "little")
        entries = json.loads(head[8 : 8 + length])
        layout = {
            name: (np.dtype(DTYPES[entry["dtype"]]), 8 + length + int(entry["data_offsets"][0]), tuple(entry["shape"]))
            for name, entry in entries.items()
            if name != "__metadata__"
        }
        for dtype, start, shape in layout.values():
            _require_room(dtype, start, shape, size)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"A shard can't be read: {error}.", where=str(path), remedy=REPAIR) from error
    return layout


def _require_room(dtype: np.dtype, start: int, shape: tuple[int, ...], size: int) -> None:
    if start < 0 or any(side < 0 for side in shape) or start + math.prod(shape) * dtype.itemsize > size:
        raise ValueError("its tensors do not fit into the file")


def rows_in(content: np.ndarray, layout: Layout, name: str, rows: slice, path: Path) -> np.ndarray:
    """Some rows of a shard's tensor.

    Args:
        content: The shard's bytes, mapped: nothing is read before it is touched.
        layout: Its layout.
        name: The tensor.
        rows: Which rows.
        path: The shard, for errors.

    Returns:
        The rows.

    Raises:
        StoreError: When the shard does not hold them.
    """
    if name not in layout or not layout[name][2] or layout[name][2][0] < rows.stop:
        raise StoreError(f"A shard lacks '{name}' of some rows.", where=str(path), remedy=REPAIR)
    dtype, offset, shape = layout[name]
    width = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    found = content[offset + rows.start * width : offset + rows.stop * width]
    return found.view(dtype).reshape(rows.stop - rows.start, *shape[1:])


def records_in(folder: Path) -> list[Path]:
    """The finished records of a folder.

    Args:
        folder: `commits` or `deletions` of a store.

    Returns:
        Their files, in the order of their names; what a killed writer left is not among them.
    """
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith(TEMPORARY_PREFIX))


def without_superseded(commits: list[Commit]) -> list[Commit]:
    """Leave out what a compaction has replaced: while it is under way two commits of a unit may hold a row, and the one with fewer rows is the newer.

    Args:
        commits: All commits.

    Returns:
        Those that count, in the order of their names.
    """
    smallest: dict[int | str, Commit] = {}
    for commit in commits:
        other = smallest.get(commit.unit)
        if other is not None and not set(commit.row_ids).isdisjoint(other.row_ids):
            smallest[commit.unit] = min(commit, other, key=lambda one: len(one.row_ids))
        else:
            smallest[commit.unit if other is None else commit.name] = commit
    return sorted(smallest.values(), key=lambda commit: commit.name)
