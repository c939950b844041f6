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
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from unweave.data.rows import Row
from unweave.errors import StoreError
from unweave.files import file_digest, read_record, write_json
from unweave.locks import locked
from unweave.replacing import observed, remove, replacing
from unweave.sketch.numbers import stored_bytes
from unweave.store.format import StoreSpec
from unweave.store.log import LOG
from unweave.store.records import Records, not_vouched
from unweave.store.shards import REPAIR, Commit, Layout, layout_in, layout_of, rows_in
from unweave.store.texts import FILE as TEXTS
from unweave.store.texts import remove_texts, texts_by_id, write_texts
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
    def create(cls, folder: str | Path, spec: StoreSpec) -> "GradientStore":
        """Open a store for writing, making it where there is none.

        Args:
            folder: Where it is, or will be.
            spec: How the sketches are made; an existing store must agree.

        Returns:
            The store.
        """
        folder = Path(folder)
        if (folder / "store.json").is_file():
            store = cls.open(folder)
            store.spec.require(spec, where=str(folder))
            return store
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        (folder / "commits").mkdir(exist_ok=True)
        (folder / "deletions").mkdir(exist_ok=True)
        store = cls(folder, spec)
        with observed(folder, store.log.noting):
            write_json(folder / "store.json", {**spec.to_json(), "log": LOG})
        return store

    @classmethod
    def open(cls, folder: str | Path) -> "GradientStore":
        """Open an existing store for reading.

        Args:
            folder: Where it is.

        Returns:
            The store.

        Raises:
            StoreError: When there is no store, or its description can't be read.
        """
        folder = Path(folder)
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

    def info(self) -> dict[str, Any]:
        """Size and description.

        Returns:
            A JSON object.
        """
        return {
            "folder": str(self.folder),
            "rows": len(self.names()),
            "deleted_rows": len(self.deleted()),
            "replaced_rows": self.replaced_rows(),
            "shards": len(self.commits()),
            "bytes": sum(commit.size for commit in self.commits()),
            "bytes_per_row": stored_bytes(self.spec.dimension, self.spec.number_format),
            "rows_fingerprint": self.rows_fingerprint(),
            **self.spec.to_json(),
        }

    def column_of(self, commit: Commit, name: str, rows: slice) -> np.ndarray:
        """Some rows of a shard's tensor, mapped: nothing is read before it is touched.

        Args:
            commit: The shard.
            name: The tensor.
            rows: Which of its rows.

        Returns:
            The values.
        """
        content, layout = self._shard(commit)
        return rows_in(content, layout, name, rows, self.shard_path(commit.name))

    def keep_texts(self, rows: Sequence[Row], contents: Mapping[str, str]) -> None:
        """Keep the texts of rows, beside those that are kept already.

        Args:
            rows: The rows.
            contents: Row id to the digest of what it is, as its commit has it.
        """
        write_texts(self.folder, rows, contents)

    def take_out(self, row_ids: Collection[str]) -> None:
        """Take rows out of a store that is held for writing, off the disk at once, so that they may come back in another form.

        Args:
            row_ids: The rows.
        """
        self.drop_index()
        # Texts first: a sketch without a text can be recognised when a kill comes in between, a text without a sketch is not.
        remove_texts(self.folder, row_ids)
        self.rewrite(
            {
                commit.name: [place for place, row_id in enumerate(commit.row_ids) if row_id not in row_ids]
                for commit in self.commits()
            }
        )
        self.refresh()

    def rewrite(self, kept: Mapping[str, Sequence[int]]) -> int:
        """Leave of each shard the rows that are kept, each as it is.

        Args:
            kept: Name of each shard to the places of these rows.

        Returns:
            How many rows went.
        """
        removed = 0
        for commit in list(self.commits()):
            keep = list(kept[commit.name])
            if len(keep) == len(commit.row_ids):
                continue
            if keep:
                held = _tensors(self.shard_path(commit.name), rows=len(commit.row_ids))
                tensors = {name: tensor[keep] for name, tensor in held.items()}
                ids = tuple(commit.row_ids[index] for index in keep)
                # The same unit number: scans keep their order, and readers take the smaller of the two commits while both are there.
                own = tuple(commit.contents[index] for index in keep) if commit.contents else ()
                self.write_shard(commit.unit, ids, tensors, contents=own)
            self.withdraw(commit)
            removed += len(commit.row_ids) - len(keep)
        return removed

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


def _tensors(path: Path, *, rows: int) -> dict[str, Tensor]:
    try:
        held = load_file(path)
    except (SafetensorError, OSError) as error:
        raise StoreError(f"A shard can't be read: {error}.", where=str(path), remedy=REPAIR) from error
    if any(tensor.shape[:1] != (rows,) for tensor in held.values()):
        raise StoreError("A shard does not hold the rows of its commit.", where=str(path), remedy=REPAIR)
    return held
