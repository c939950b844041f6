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
from safetensors.torch import save
from torch import Tensor

from unweave.data.rows import Row
from unweave.errors import StoreError
from unweave.files import file_digest, locked, read_record, remove, replacing, watched, write_json
from unweave.sketch.numbers import decode_numbers, encode_numbers, stored_bytes
from unweave.store.format import StoreSpec
from unweave.store.log import LOG
from unweave.store.records import Records, not_vouched
from unweave.store.shards import (
    BLOCK_BYTES,
    REPAIR,
    Block,
    Commit,
    Layout,
    Stored,
    layout_in,
    layout_of,
    rows_in,
)
from unweave.store.texts import FILE as TEXTS
from unweave.store.texts import same_text, texts_by_id
from unweave.temporary import TEMPORARY_PREFIX, remove_stale


class GradientStore(Records):
    """A store that is open.

    Args:
        folder: Where it is.
        spec: How it was made.

    Example:
        >>> import unweave as uw
        >>> from pathlib import Path
        >>> from unweave.engines.config import CacheConfig
        >>> _ = uw.cache_rows(CacheConfig(model="tuned", data=Path("rows.jsonl"), store=Path("store"), dimension=64))
        >>> len(uw.GradientStore.open(Path("store")).row_ids())
        8
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
        store = cls(folder, spec)
        with watched(folder, store.log.noting):
            write_json(folder / "store.json", {**spec.to_json(), "log": LOG})
        return store

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
    def writing(self, *, repairing: bool = False) -> "Iterator[GradientStore]":
        """Hold the store for writing; a second writer is refused, and what a killed one left behind is removed.

        Args:
            repairing: Go on although the store lacks what its log names.

        Yields:
            The store, as it is now.

        Raises:
            StoreError: When the store lacks a record: what is written would be built on less than it held.
        """
        busy = StoreError(
            "Another process is writing to this store.", where=str(self.folder), remedy="wait for it to end"
        )
        with locked(self.folder / ".lock", busy):
            remove_stale(self.folder)
            if not repairing:
                self._begin()
            with self.noting():
                self.refresh()
                yield self
            # What comes after is a reader, who sees what this writer left.
            self.refresh()

    def _begin(self) -> None:
        """Make sure that the store is what its log says, as far as its records go, and remove what killed writers have left."""
        if not self.log.exists():
            self._begin_log()
        self.log.settle()
        if lost := self.log.lost():
            raise StoreError(
                f"The store lacks '{lost[0]}', which its log names.",
                where=str(self.folder),
                remedy="run `unweave store check`, which says what is wrong and what to do",
            )
        self.refresh()
        committed = {commit.name for commit in self.commits()}
        with self.noting():
            for path in self.committed():
                # What a compaction had replaced when it was killed.
                if path.stem not in committed:
                    remove(path)
        for path in list((self.folder / "shards").iterdir()):
            if not path.name.startswith(TEMPORARY_PREFIX) and path.stem not in committed:
                path.unlink()

    def _begin_log(self) -> None:
        """Vouch for a store of before from now on."""
        if self.log.promised():
            raise StoreError(
                f"The store's log is missing, which vouches for all else ('{LOG}').",
                where=str(self.folder),
                remedy="restore it from a backup, or run `unweave store repair`, which takes the store as it is",
            )
        self.log.adopt()

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
            # Written here and not by the library, which would put a file of its own in place of the one that is held.
            temporary.write_bytes(save({key: tensor.contiguous().cpu() for key, tensor in tensors.items()}))
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
        content, layout = self._shard(block.commit)
        path = self.shard_path(block.commit.name)
        values, scales, lengths = (
            rows_in(content, layout, name, block.rows, path) for name in ("sketches", "scales", "lengths")
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
            content, layout = self._shard(commit)
            rows = slice(0, len(commit.row_ids))
            found = rows_in(content, layout, name, rows, self.shard_path(commit.name)).tolist()
            values.update({commit.row_ids[place]: found[place] for place in self.kept(commit)})
        return torch.tensor([values[row_id] for row_id in row_ids])

    def texts(self) -> dict[str, dict[str, Any]]:
        """The texts of the rows, each the one that its sketch is of; where the store has gone on meanwhile, this reader goes along.

        Returns:
            Row id to its text, see `read_texts`.

        Raises:
            StoreError: When the texts are not those of the sketches.
        """
        while True:
            contents, texts, odd = self.contents(), {}, None
            try:
                texts = texts_by_id(self.folder, contents)
            except StoreError as error:
                odd = error
            denied = self.log.denies(self.folder / TEXTS)
            if odd is None and not denied and contents.keys() <= texts.keys():
                return texts
            self.refresh()
            if self.contents() == contents:
                if odd is not None:
                    raise odd
                if denied and self.log.denies(self.folder / TEXTS):
                    odd = not_vouched(self.folder, TEXTS)
                    raise odd
                return texts

    def require_texts(self, rows: Sequence[Row]) -> None:
        """Refuse to go on with sketches of rows that have another text now. Rows whose text was not kept pass.

        Args:
            rows: The rows.

        Raises:
            StoreError: Naming one that has changed.
        """
        texts = self.texts()
        changed = [row for row in rows if row.id in texts and not same_text(texts[row.id], row)]
        if changed:
            raise StoreError(
                f"The row '{changed[0].id}' has changed since it was cached: its sketch is of another text ({len(changed)} row(s) in all).",
                where=f"{changed[0].place}, {self.folder}",
                remedy="cache these rows again: what has changed is computed anew",
            )

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

    def _shard(self, commit: Commit) -> tuple[np.ndarray, Layout]:
        """The bytes of a shard, mapped, and where its tensors are: from the disk, or as it was when this reader opened the store."""
        path = self.shard_path(commit.name)
        try:
            if (size := path.stat().st_size) != commit.size:
                raise StoreError(f"A shard has {size} bytes instead of {commit.size}.", where=str(path), remedy=REPAIR)
            # Mapped anew for each block, so that the memory is given back.
            return np.memmap(path, dtype=np.uint8, mode="r"), layout_of(path)
        except FileNotFoundError as error:
            content = self.pinned.bytes_of(commit)
            if content is not None:
                head = content[: 8 + int.from_bytes(content[:8].tobytes(), "little")].tobytes()
                return content, layout_in(head, commit.size, path)
            if self.commit_path(commit.name).is_file():
                raise StoreError("A shard is missing.", where=str(path), remedy=REPAIR) from error
            raise StoreError(
                "The store was compacted or repaired since it was opened.",
                where=str(self.folder),
                remedy="run the same command again",
            ) from error
