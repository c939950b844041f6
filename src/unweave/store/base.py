"""What a store is, wherever it is kept: rows with their sketches, in immutable shards that a scan goes through block by block.

`GradientStore` keeps them in a folder, `MemoryStore` in memory.
"""

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unweave.data.rows import Row
from unweave.errors import StoreError
from unweave.sketch.numbers import decode_numbers, encode_numbers, stored_bytes
from unweave.store.format import StoreSpec
from unweave.store.shards import BLOCK_BYTES, Block, Commit, Stored
from unweave.store.texts import same_text


class Store(ABC):
    """Rows and their sketches.

    Attributes:
        spec: How the sketches were made.
    """

    spec: StoreSpec

    def __init__(self) -> None:
        self._present: set[str] | None = None
        self._newest: dict[str, str] | None = None

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the store is, for messages."""

    @abstractmethod
    def commits(self) -> list[Commit]:
        """The committed shards, in the order of their making."""

    @abstractmethod
    def deleted(self) -> set[str]:
        """Rows that were taken out and whose sketches are still there."""

    @abstractmethod
    def column_of(self, commit: Commit, name: str, rows: slice) -> np.ndarray:
        """Some rows of a shard's tensor, nothing of it read before it is touched.

        Args:
            commit: The shard.
            name: `sketches`, `scales`, `lengths`, `norms` or `losses`.
            rows: Which of its rows.

        Returns:
            The values.
        """

    @abstractmethod
    def write_shard(
        self, unit: int, row_ids: tuple[str, ...], tensors: dict[str, Tensor], *, contents: tuple[str, ...] = ()
    ) -> None:
        """Add a shard, whose rows are in the store from then on.

        Args:
            unit: The number of the unit of work that it comes from.
            row_ids: Its rows.
            tensors: What it holds of them.
            contents: A digest of what each is.
        """

    @abstractmethod
    def writing(self) -> contextlib.AbstractContextManager["Store"]:
        """Hold the store for writing."""

    @abstractmethod
    def delete(self, row_ids: Sequence[str]) -> None:
        """Take rows out of the store: from now on no scan finds them.

        Args:
            row_ids: Their ids; each must be in the store.
        """

    @abstractmethod
    def take_out(self, row_ids: Collection[str]) -> None:
        """Take rows out of a store that is held for writing, with all that it holds of them, so that they may come back in another form.

        Args:
            row_ids: Their ids.
        """

    @abstractmethod
    def keep_texts(self, rows: Sequence[Row], contents: Mapping[str, str]) -> None:
        """Keep the texts of rows, beside those that are kept already.

        Args:
            rows: The rows.
            contents: Row id to the digest of what it is, as its commit has it.
        """

    @abstractmethod
    def texts(self) -> dict[str, dict[str, Any]]:
        """The texts of the rows, each the one that its sketch is of.

        Returns:
            Row id to its text, see `read_texts`.
        """

    def row_ids(self) -> list[str]:
        """The rows in the store, in scan order."""
        return [commit.row_ids[place] for commit in self.commits() for place in self.kept(commit)]

    def kept(self, commit: Commit) -> Sequence[int]:
        """Which rows of a commit are in the store: those that are not deleted, and were not sketched anew since with other content.

        Args:
            commit: The commit.

        Returns:
            Their places in it, ascending.
        """
        gone, newest = self.deleted(), self._replaced()
        if not newest and gone.isdisjoint(commit.row_ids):
            return range(len(commit.row_ids))
        return [
            place
            for place, row_id in enumerate(commit.row_ids)
            if row_id not in gone and newest.get(row_id, commit.name) == commit.name
        ]

    def replaced_rows(self) -> int:
        """Sketches on the disk in whose place newer ones of the same rows stand."""
        gone = self.deleted()
        rows = sum(row_id not in gone for commit in self.commits() for row_id in commit.row_ids)
        return rows - len(self.row_ids())

    def contents(self) -> dict[str, str | None]:
        """The rows in the store, each with the digest of what it was when it was sketched; `None` where that was not kept."""
        return {
            commit.row_ids[place]: commit.contents[place] if commit.contents else None
            for commit in self.commits()
            for place in self.kept(commit)
        }

    def rows_fingerprint(self) -> str:
        """A fingerprint of the rows: of their ids and contents, whatever their order.

        Returns:
            32 hexadecimal digits.
        """
        named = sorted(f"{row_id} {content}" if content else row_id for row_id, content in self.contents().items())
        return hashlib.blake2b("\n".join(named).encode(), digest_size=16).hexdigest()

    def _replaced(self) -> dict[str, str]:
        """Rows that more than one commit names, with the newest of these."""
        if self._newest is None:
            seen: set[str] = set()
            newest: dict[str, str] = {}
            for commit in self.commits():
                newest.update({row_id: commit.name for row_id in commit.row_ids if row_id in seen})
                seen.update(commit.row_ids)
            self._newest = newest
        return self._newest

    def refresh(self) -> None:
        """Forget what was read of the rows, so that what others have written is seen."""
        self._present = self._newest = None

    def pending(self, row_ids: Sequence[str], contents: Sequence[str] | None = None) -> list[str]:
        """Which of these rows are not in the store.

        Args:
            row_ids: Ids of rows.
            contents: A digest of what each is now: a row of another content, or of one that was not kept, is not in the store either.

        Returns:
            Those that no commit names, in their order.
        """
        if contents is not None:
            held = self.contents()
            return [row_id for row_id, own in zip(row_ids, contents, strict=True) if held.get(row_id) != own]
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

    def require_rows(self, row_ids: Sequence[str], contents: Sequence[str] | None = None) -> None:
        """Refuse to go on when rows are missing, or are others than those that were sketched.

        Args:
            row_ids: Their ids.
            contents: A digest of what each is now.

        Raises:
            StoreError: Naming one that is not in the store, or has changed.
        """
        if missing := self.pending(row_ids):
            raise StoreError(
                f"{len(missing)} row(s) are not in the store, such as '{missing[0]}'.",
                where=self.place,
                remedy="cache them first",
            )
        held = self.contents() if contents is not None else {}
        for row_id, own in zip(row_ids, contents or (), strict=contents is not None):
            if held[row_id] not in (None, own):
                raise StoreError(
                    f"The row '{row_id}' has changed since it was cached.",
                    where=self.place,
                    remedy="cache these rows again: what has changed is computed anew",
                )

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
            contents: A digest of what each row is, by which a change under its id is seen.

        Raises:
            StoreError: When a row is there already, or was deleted and not compacted away, or a sketch is not finite.
        """
        repeated = set(row_ids) & self.names()
        if contents is not None:
            repeated -= set(self.pending(row_ids, contents))
        if repeated:
            raise StoreError(
                f"The row '{min(repeated)}' is in the store already.",
                where=self.place,
                remedy="cache only pending rows",
            )
        if returning := [row_id for row_id in row_ids if row_id in self.deleted()]:
            raise StoreError(
                f"The row '{returning[0]}' was deleted from this store.",
                where=self.place,
                remedy="leave it out of the data; to take it in again, run `unweave store compact` first",
            )
        if not torch.isfinite(sketches).all():
            bad = row_ids[int((~torch.isfinite(sketches).all(dim=1)).nonzero()[0])]
            raise StoreError(
                f"The sketch of row '{bad}' is not finite.", where=self.place, remedy="cache with `dtype` float32"
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
        """The sketches of a block, mapped where they are on a disk; that memory is given back when the result goes.

        Args:
            block: The block.

        Returns:
            All its rows, deleted ones too: take those in `block.kept`.
        """
        values, scales, lengths = (
            self.column_of(block.commit, name, block.rows) for name in ("sketches", "scales", "lengths")
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
            found = self.column_of(commit, name, slice(0, len(commit.row_ids))).tolist()
            values.update({commit.row_ids[place]: found[place] for place in self.kept(commit)})
        return torch.tensor([values[row_id] for row_id in row_ids])

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
                where=f"{changed[0].place}, {self.place}",
                remedy="cache these rows again: what has changed is computed anew",
            )
