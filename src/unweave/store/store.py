"""The gradient store: a folder of sketches that survives any kill and never shows half of anything.

    store.json              how the sketches were made (`StoreSpec`)
    rows.parquet            the rows, for people: id, source, line, prompt, completion
    shards/NAME.safetensors sketches [n, K], scales, norms and losses of n rows; never changed once written
    commits/NAME.json       the row ids of a shard, its size and digest; a row is in the store when a commit names it

A shard is written and made durable first, then its commit. A kill in between leaves a shard that no commit names: it is ignored, and removed by
the next writer. To resume is to ask for the rows that no commit names.
"""

import contextlib
import fcntl
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unweave.errors import StoreError
from unweave.files import TEMPORARY_PREFIX, read_json, replacing, write_json
from unweave.store.format import StoreSpec
from unweave.store.numbers import decode_numbers, encode_numbers


@dataclass(frozen=True)
class Commit:
    """One committed shard.

    Attributes:
        name: Of the shard and the commit.
        row_ids: Its rows, in the order of the shard.
        size: Bytes of the shard.
        digest: BLAKE2b of the shard.
    """

    name: str
    row_ids: tuple[str, ...]
    size: int
    digest: str


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a scan.

    Attributes:
        row_ids: Their ids.
        sketches: As stored, memory-mapped where the format allows it; multiply by `scales`.
        scales: One factor a row.
    """

    row_ids: tuple[str, ...]
    sketches: Tensor
    scales: Float[Tensor, " n"]


class GradientStore:
    """A store that is open.

    Args:
        folder: Where it is.
        spec: How it was made.
    """

    def __init__(self, folder: Path, spec: StoreSpec):
        self.folder = folder
        self.spec = spec
        self._commits: list[Commit] | None = None

    @classmethod
    def create(cls, folder: Path, spec: StoreSpec) -> "GradientStore":
        """Open a store for writing, making it where there is none.

        Args:
            folder: Where it is, or will be.
            spec: How the sketches are made; an existing store must agree.

        Returns:
            The store.
        """
        if (folder / "store.json").is_file():
            store = cls.open(folder)
            store.spec.require(spec, where=str(folder))
            return store
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        (folder / "commits").mkdir(exist_ok=True)
        write_json(folder / "store.json", spec.to_json())
        return cls(folder, spec)

    @classmethod
    def open(cls, folder: Path) -> "GradientStore":
        """Open an existing store for reading.

        Args:
            folder: Where it is.

        Returns:
            The store.

        Raises:
            StoreError: When there is no store, or its description can't be read.
        """
        path = folder / "store.json"
        if not path.is_file():
            raise StoreError(
                "There is no gradient store here.", where=str(folder), remedy="make one with `unweave cache`"
            )
        return cls(folder, StoreSpec.from_json(read_json(path, what="The store's description"), where=str(path)))

    def commits(self) -> list[Commit]:
        """The committed shards, in the order of their names, which is that of their making."""
        if self._commits is None:
            found = []
            for path in sorted((self.folder / "commits").glob("*.json")):
                value = read_json(path, what="A commit of the store")
                try:
                    found.append(Commit(path.stem, tuple(value["row_ids"]), int(value["size"]), str(value["digest"])))
                except (KeyError, TypeError, ValueError) as error:
                    raise StoreError(
                        f"A commit lacks {error}.", where=str(path), remedy="remove it and cache its rows anew"
                    ) from error
            self._commits = found
        return self._commits

    def row_ids(self) -> list[str]:
        """The rows in the store, in scan order."""
        return [row_id for commit in self.commits() for row_id in commit.row_ids]

    def pending(self, row_ids: Sequence[str]) -> list[str]:
        """Which of these rows are not in the store.

        Args:
            row_ids: Ids of rows.

        Returns:
            Those that no commit names, in their order.
        """
        present = set(self.row_ids())
        return [row_id for row_id in row_ids if row_id not in present]

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for writing; a second writer is refused, and what a killed one left behind is removed.

        Yields:
            Nothing.

        Raises:
            StoreError: When another process is writing.
        """
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(
                    "Another process is writing to this store.", where=str(self.folder), remedy="wait for it to end"
                ) from error
            self._commits = None
            committed = {commit.name for commit in self.commits()}
            for path in (self.folder / "shards").iterdir():
                if path.name.startswith(TEMPORARY_PREFIX) or path.stem not in committed:
                    path.unlink()
            yield

    def commit(
        self,
        row_ids: Sequence[str],
        sketches: Float[Tensor, "n K"],
        norms: Float[Tensor, " n"],
        losses: Float[Tensor, " n"],
    ) -> None:
        """Add rows: their shard first, then the commit that makes them visible.

        Args:
            row_ids: Ids, none of them in the store yet.
            sketches: Their sketches in float32.
            norms: Euclidean norm of each row's whole gradient, before normalisation.
            losses: l(z) of each row in nats a token.

        Raises:
            StoreError: When a row is there already, or a sketch is not finite.
        """
        present = set(self.row_ids())
        if repeated := [row_id for row_id in row_ids if row_id in present]:
            raise StoreError(
                f"The row '{repeated[0]}' is in the store already.",
                where=str(self.folder),
                remedy="cache only pending rows",
            )
        if not torch.isfinite(sketches).all():
            bad = row_ids[int((~torch.isfinite(sketches).all(dim=1)).nonzero()[0])]
            raise StoreError(
                f"The sketch of row '{bad}' is not finite.", where=str(self.folder), remedy="cache with --dtype float32"
            )
        values, scales = encode_numbers(sketches, self.spec.number_format)
        name = f"{len(self.commits()):06d}-{uuid.uuid4().hex[:8]}"
        path = self.folder / "shards" / f"{name}.safetensors"
        with replacing(path) as temporary:
            tensors = {"sketches": values, "scales": scales, "norms": norms.float(), "losses": losses.float()}
            save_file({key: tensor.contiguous().cpu() for key, tensor in tensors.items()}, temporary)
        commit = Commit(name, tuple(row_ids), path.stat().st_size, _digest(path))
        record = {"row_ids": list(commit.row_ids), "size": commit.size, "digest": commit.digest}
        write_json(self.folder / "commits" / f"{name}.json", record)
        self.commits().append(commit)

    def scan(self, *, block_rows: int = 1024) -> Iterator[Block]:
        """Read all rows in blocks, without loading more than a block.

        Args:
            block_rows: The most rows a block.

        Yields:
            Blocks, in scan order.
        """
        for commit in self.commits():
            with self._shard(commit) as shard:
                sketches = shard.get_slice("sketches")
                scales = shard.get_tensor("scales")
                for start in range(0, len(commit.row_ids), block_rows):
                    rows = slice(start, start + block_rows)
                    yield Block(commit.row_ids[rows], sketches[rows], scales[rows])

    def read(self, row_ids: Sequence[str]) -> Float[Tensor, "n K"]:
        """The sketches of some rows.

        Args:
            row_ids: Their ids.

        Returns:
            Sketches in float32, in the order of `row_ids`.

        Raises:
            StoreError: When a row is not in the store.
        """
        wanted = {row_id: index for index, row_id in enumerate(row_ids)}
        self._require_rows(row_ids)
        out = torch.empty(len(row_ids), self.spec.dimension)
        for block in self.scan():
            inside = [(position, wanted[row_id]) for position, row_id in enumerate(block.row_ids) if row_id in wanted]
            if inside:
                positions, targets = (list(column) for column in zip(*inside, strict=True))
                out[targets] = decode_numbers(block.sketches[positions], block.scales[positions])
        return out

    def column(self, name: str, row_ids: Sequence[str]) -> Float[Tensor, " n"]:
        """A number of each of some rows.

        Args:
            name: `norms` or `losses`.
            row_ids: Their ids.

        Returns:
            The numbers, in the order of `row_ids`.
        """
        self._require_rows(row_ids)
        values: dict[str, float] = {}
        for commit in self.commits():
            with self._shard(commit) as shard:
                values.update(zip(commit.row_ids, shard.get_tensor(name).tolist(), strict=True))
        return torch.tensor([values[row_id] for row_id in row_ids])

    def check(self) -> list[str]:
        """Compare every shard with its commit.

        Returns:
            What is wrong, with the rows to cache anew; empty when all is well.
        """
        faults = []
        for commit in self.commits():
            path = self.folder / "shards" / f"{commit.name}.safetensors"
            if not path.is_file():
                faults.append(f"{path.name} is missing ({len(commit.row_ids)} rows from '{commit.row_ids[0]}')")
            elif path.stat().st_size != commit.size:
                faults.append(f"{path.name} has {path.stat().st_size} bytes, its commit says {commit.size}")
            elif _digest(path) != commit.digest:
                faults.append(
                    f"{path.name} differs from its digest ({len(commit.row_ids)} rows from '{commit.row_ids[0]}')"
                )
        return faults

    def info(self) -> dict[str, Any]:
        """Size and description.

        Returns:
            A JSON object.
        """
        total = sum(commit.size for commit in self.commits())
        rows = sum(len(commit.row_ids) for commit in self.commits())
        return {
            "folder": str(self.folder),
            "rows": rows,
            "shards": len(self.commits()),
            "bytes": total,
            **self.spec.to_json(),
        }

    @contextlib.contextmanager
    def _shard(self, commit: Commit) -> Iterator[Any]:
        path = self.folder / "shards" / f"{commit.name}.safetensors"
        remedy = "run `unweave store check`, remove the shard's commit, and cache again"
        if not path.is_file() or path.stat().st_size != commit.size:
            state = "is missing" if not path.is_file() else f"has {path.stat().st_size} bytes instead of {commit.size}"
            raise StoreError(f"A shard {state}.", where=str(path), remedy=remedy)
        try:
            with safe_open(path, framework="pt") as shard:
                yield shard
        except SafetensorError as error:
            raise StoreError(f"A shard can't be read: {error}.", where=str(path), remedy=remedy) from error

    def _require_rows(self, row_ids: Sequence[str]) -> None:
        if missing := self.pending(row_ids):
            raise StoreError(
                f"{len(missing)} row(s) are not in the store, such as '{missing[0]}'.",
                where=str(self.folder),
                remedy="cache them first",
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
