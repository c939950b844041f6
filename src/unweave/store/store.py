"""The gradient store: a folder of sketches that survives any kill and never shows half of anything.

    store.json              how the sketches were made (`StoreSpec`)
    rows.parquet            the rows, for people: id, source, line, prompt, completion; of a row that changed under its id one text for each sketch of it
    shards/NAME.safetensors sketches [n, K], their scales and lengths, gradient norms and losses of n rows; never changed once written
    commits/NAME.json       the row ids of a shard, its size and digest, and a digest of each row; a row is in the store when a commit names it, as the last
                            one has it
    deletions/NAME.json     row ids that are no longer in the store; `compact` takes their sketches and texts off the disk

A shard is written and made durable first, then its commit. A kill in between leaves a shard that no commit names: it is ignored, and removed by
the next writer. To resume is to ask for the rows that no commit names.
"""

import contextlib
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unweave.errors import StoreError
from unweave.files import TEMPORARY_PREFIX, file_digest, locked, read_record, replacing, write_json
from unweave.store.format import StoreSpec
from unweave.store.numbers import decode_numbers, encode_numbers, stored_bytes
from unweave.store.records import Records
from unweave.store.shards import (
    BLOCK_BYTES,
    REPAIR,
    Block,
    Commit,
    Stored,
    layout_of,
    mapped_rows,
)


class GradientStore(Records):
    """A store that is open.

    Args:
        folder: Where it is.
        spec: How it was made.
    """

    def __init__(self, folder: Path, spec: StoreSpec):
        super().__init__(folder)
        self.spec = spec

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
        (folder / "deletions").mkdir(exist_ok=True)
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
        return cls(folder, StoreSpec.from_json(read_record(path, what="The store's description"), where=str(path)))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for writing; a second writer is refused, and what a killed one left behind is removed.

        Yields:
            Nothing.
        """
        busy = StoreError(
            "Another process is writing to this store.", where=str(self.folder), remedy="wait for it to end"
        )
        with locked(self.folder / ".lock", busy):
            self.refresh()
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
        *,
        unit: int | None = None,
        contents: Sequence[str] | None = None,
    ) -> None:
        """Add rows: their shard first, then the commit that makes them visible.

        A row that is there with another content is replaced by the commit: until then readers find the old sketch, from then on the new one.

        Args:
            row_ids: Ids, none of them in the store yet.
            sketches: Their sketches in float32.
            norms: Euclidean norm of each row's whole gradient, before normalisation.
            losses: l(z) of each row in nats a token.
            unit: The number of this unit of work, from `next_unit` on, where several processes commit: scans go in the order of units.
            contents: A digest of what each row is, by which it is known when it changes under its id.

        Raises:
            StoreError: When a row is there already, or was deleted and not compacted away, or a sketch is not finite.
        """
        repeated = set(row_ids) & self.names()
        if contents is not None:
            repeated -= set(self.pending(row_ids, contents))
        if repeated:
            raise StoreError(
                f"The row '{min(repeated)}' is in the store already.",
                where=str(self.folder),
                remedy="cache only pending rows",
            )
        if returning := [row_id for row_id in row_ids if row_id in self.deleted()]:
            raise StoreError(
                f"The row '{returning[0]}' was deleted from this store.",
                where=str(self.folder),
                remedy="leave it out of the data; to take it in again, run `unweave store compact` first",
            )
        if not torch.isfinite(sketches).all():
            bad = row_ids[int((~torch.isfinite(sketches).all(dim=1)).nonzero()[0])]
            raise StoreError(
                f"The sketch of row '{bad}' is not finite.", where=str(self.folder), remedy="cache with --dtype float32"
            )
        values, scales = encode_numbers(sketches, self.spec.number_format)
        tensors = {
            "sketches": values,
            "scales": scales,
            "lengths": sketches.float().norm(dim=1),
            "norms": norms.float(),
            "losses": losses.float(),
        }
        number = self.next_unit() if unit is None else unit
        self.write_shard(number, tuple(row_ids), tensors, contents=tuple(contents or ()))

    def write_shard(
        self, unit: int, row_ids: tuple[str, ...], tensors: dict[str, Tensor], *, contents: tuple[str, ...] = ()
    ) -> None:
        """Write a shard of a unit and then its commit.

        Args:
            unit: The number of the unit.
            row_ids: Its rows.
            tensors: What the shard holds of them.
            contents: A digest of what each is.
        """
        name = f"{unit:06d}-{uuid.uuid4().hex[:8]}"
        path = self.shard_path(name)
        with replacing(path) as temporary:
            save_file({key: tensor.contiguous().cpu() for key, tensor in tensors.items()}, temporary)
        commit = Commit(name, row_ids, path.stat().st_size, file_digest(path), contents)
        self.publish(commit)

    def blocks(self, *, block_bytes: int = BLOCK_BYTES) -> list[Block]:
        """Cut the store into the units of a scan.

        Args:
            block_bytes: The most bytes of sketches a block.

        Returns:
            Blocks, in scan order.
        """
        step = max(1, block_bytes // stored_bytes(self.spec.dimension, self.spec.number_format))
        found = []
        for commit in self.commits():
            places = self.kept(commit)
            for start in range(0, len(commit.row_ids), step):
                rows = slice(start, min(start + step, len(commit.row_ids)))
                kept = None
                if len(places) < len(commit.row_ids):
                    kept = tuple(place - start for place in places if rows.start <= place < rows.stop)
                    kept = None if len(kept) == rows.stop - rows.start else kept
                if kept != ():
                    found.append(Block(commit, rows, kept))
        return found

    def load(self, block: Block) -> Stored:
        """Map the sketches of a block; the memory is given back when the result goes.

        Args:
            block: The block.

        Returns:
            All its rows, deleted ones too: take those in `block.kept`.
        """
        path = self.shard_path(block.commit.name)
        self._require_whole(block.commit, path)
        layout = layout_of(path)
        values, scales, lengths = (
            mapped_rows(path, layout, name, block.rows) for name in ("sketches", "scales", "lengths")
        )
        return Stored(values, torch.from_numpy(np.array(scales)), torch.from_numpy(np.array(lengths)))

    def read(self, row_ids: Sequence[str]) -> Float[Tensor, "n K"]:
        """The sketches of some rows.

        Args:
            row_ids: Their ids.

        Returns:
            Sketches in float32, in the order of `row_ids`.

        Raises:
            StoreError: When a row is not in the store.
        """
        self.require_rows(row_ids)
        wanted: dict[str, list[int]] = {}
        for index, row_id in enumerate(row_ids):
            wanted.setdefault(row_id, []).append(index)
        out = torch.empty(len(row_ids), self.spec.dimension)
        for block in self.blocks():
            ids = block.commit.row_ids[block.rows]
            places = range(len(ids)) if block.kept is None else block.kept
            positions = [index for index in places if ids[index] in wanted]
            if positions:
                stored = self.load(block)
                found = self.decode(stored.values[positions], stored.scales[positions])
                for position, sketch in zip(positions, found, strict=True):
                    out[wanted[ids[position]]] = sketch
        return out

    def decode(self, values: np.ndarray, scales: Float[Tensor, " n"]) -> Float[Tensor, "n K"]:
        """Sketches in float32 from stored values.

        Args:
            values: Stored values.
            scales: Their scales.

        Returns:
            The sketches.
        """
        return decode_numbers(torch.from_numpy(np.array(values)), scales, self.spec.number_format, self.spec.dimension)

    def column(self, name: str, row_ids: Sequence[str]) -> Float[Tensor, " n"]:
        """A number of each of some rows.

        Args:
            name: `norms` or `losses`.
            row_ids: Their ids.

        Returns:
            The numbers, in the order of `row_ids`.
        """
        self.require_rows(row_ids)
        values: dict[str, float] = {}
        for commit in self.commits():
            with self._shard(commit) as shard:
                found = shard.get_tensor(name).tolist()
                values.update({commit.row_ids[place]: found[place] for place in self.kept(commit)})
        return torch.tensor([values[row_id] for row_id in row_ids])

    def info(self) -> dict[str, Any]:
        """Size and description.

        Returns:
            A JSON object.
        """
        contents = self.contents()
        named = sorted(f"{row_id} {content}" if content else row_id for row_id, content in contents.items())
        return {
            "folder": str(self.folder),
            "rows": len(contents),
            "deleted_rows": len(self.deleted()),
            "replaced_rows": self.replaced_rows(),
            "shards": len(self.commits()),
            "bytes": sum(commit.size for commit in self.commits()),
            "bytes_per_row": stored_bytes(self.spec.dimension, self.spec.number_format),
            "rows_fingerprint": hashlib.blake2b("\n".join(named).encode(), digest_size=16).hexdigest(),
            **self.spec.to_json(),
        }

    @contextlib.contextmanager
    def _shard(self, commit: Commit) -> Iterator[Any]:
        path = self.shard_path(commit.name)
        self._require_whole(commit, path)
        try:
            with safe_open(path, framework="pt") as shard:
                yield shard
        except SafetensorError as error:
            raise StoreError(f"A shard can't be read: {error}.", where=str(path), remedy=REPAIR) from error

    def _require_whole(self, commit: Commit, path: Path) -> None:
        if not path.is_file() or path.stat().st_size != commit.size:
            state = "is missing" if not path.is_file() else f"has {path.stat().st_size} bytes instead of {commit.size}"
            raise StoreError(f"A shard {state}.", where=str(path), remedy=REPAIR)
