"""Looking after a store: check it against its digests, compact it after deletions, merge stores of several machines."""

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unweave.data.remembered import remember_columns, remembered_columns
from unweave.errors import StoreError
from unweave.files import file_digest, replacing
from unweave.store.shards import REPAIR, Commit
from unweave.store.store import GradientStore
from unweave.store.texts import FILE as TEXTS
from unweave.store.texts import merge_texts, read_texts, remove_texts, repair_texts


def check_store(store: GradientStore) -> list[str]:
    """Compare every shard with its commit, and see whether the rows' texts can be read.

    Args:
        store: The store.

    Returns:
        What is wrong, with the rows to cache anew; empty when all is well.
    """
    faults = []
    try:
        read_texts(store.folder)
    except StoreError as error:
        faults.append(f"{TEXTS} can't be read: {error.sentence}")
    for commit in store.commits():
        path = store.shard_path(commit.name)
        rows = f"{len(commit.row_ids)} rows from '{commit.row_ids[0]}'"
        if not path.is_file():
            faults.append(f"{path.name} is missing ({rows})")
        elif path.stat().st_size != commit.size:
            faults.append(f"{path.name} has {path.stat().st_size} bytes, its commit says {commit.size} ({rows})")
        elif file_digest(path) != commit.digest:
            faults.append(f"{path.name} differs from its digest ({rows})")
    return faults


def repair_store(store: GradientStore) -> list[str]:
    """Withdraw the commits of damaged shards, so that the next caching computes their rows anew, and take away texts that can't be read.

    Args:
        store: The store.

    Returns:
        The ids of the rows to cache anew.
    """
    with store.writing():
        damaged = {fault.partition(" ")[0] for fault in check_store(store)}
        repair_texts(store.folder)
        lost = []
        for commit in store.commits():
            if store.shard_path(commit.name).name in damaged:
                lost += commit.row_ids
                store.withdraw(commit)
        store.refresh()
    return lost


def compact_store(store: GradientStore) -> int:
    """Rewrite the shards that hold deleted or replaced rows without them, and take those rows' texts out of `rows.parquet`.

    Killed at any point, it leaves the deletions in force, and the next run goes on: the shard without the rows is committed before the
    one with them goes.

    Args:
        store: The store.

    Returns:
        Rows that left the disk.
    """
    removed = 0
    with store.writing():
        gone, contents = store.deleted(), store.contents()
        # What counts is decided before the first shard goes: with it goes what says that another was replaced.
        kept = {commit.name: store.kept(commit) for commit in store.commits()}
        for commit in list(store.commits()):
            keep = list(kept[commit.name])
            if len(keep) == len(commit.row_ids):
                continue
            if keep:
                held = _tensors(store.shard_path(commit.name), rows=len(commit.row_ids))
                tensors = {name: tensor[keep] for name, tensor in held.items()}
                ids = tuple(commit.row_ids[index] for index in keep)
                # The same unit number: scans keep their order, and readers take the smaller of the two commits while both are there.
                own = tuple(commit.contents[index] for index in keep) if commit.contents else ()
                store.write_shard(commit.unit, ids, tensors, contents=own)
            store.withdraw(commit)
            removed += len(commit.row_ids) - len(keep)
        remove_texts(store.folder, gone, contents)
        for path in store.deletions():
            path.unlink()
        store.refresh()
    return removed


def merge_stores(sources: Sequence[Path], target: Path) -> GradientStore:
    """Bring stores of several machines together; each shard is verified, then copied (or linked on the same disk).

    A merge that was interrupted goes on where it was. Deletions of the sources come along.

    Args:
        sources: Stores made in the same way: the first field that differs is named.
        target: The merged store, new or one of the same kind.

    Returns:
        The merged store.

    Raises:
        StoreError: When a source is damaged, or a row is in two of them.
    """
    stores = [GradientStore.open(source) for source in sources]
    merged = GradientStore.create(target, stores[0].spec)
    with merged.writing():
        for store in stores:
            merged.spec.require(store.spec, where=str(store.folder))
            for columns in remembered_columns(store.folder):
                remember_columns(target, columns)
            if faults := check_store(store):
                raise StoreError(
                    f"A store to merge is damaged: {faults[0]}.",
                    where=str(store.folder),
                    remedy="run `unweave store repair`, cache again, then merge",
                )
        origin = {commit.digest: commit for commit in merged.commits()}
        for store in stores:
            # Within a store a later commit may replace rows of an earlier one.
            own: set[str] = set()
            for commit in store.commits():
                twice = [row_id for row_id in commit.row_ids if row_id in merged.names() and row_id not in own]
                own.update(commit.row_ids)
                if commit.digest in origin and origin[commit.digest].row_ids == commit.row_ids:
                    continue
                if twice:
                    raise StoreError(
                        f"The row '{twice[0]}' is in more than one store.",
                        where=str(store.folder),
                        remedy="delete it from one of them and compact that",
                    )
                name = f"{merged.next_unit():06d}-{uuid.uuid4().hex[:8]}"
                _link_or_copy(store.shard_path(commit.name), merged.shard_path(name))
                merged.publish(Commit(name, commit.row_ids, commit.size, commit.digest, commit.contents))
            merge_texts(store.folder, target)
            merged.delete(sorted(store.deleted() & merged.names()))
    return merged


def _tensors(path: Path, *, rows: int) -> dict[str, Tensor]:
    try:
        held = load_file(path)
    except (SafetensorError, OSError) as error:
        raise StoreError(f"A shard can't be read: {error}.", where=str(path), remedy=REPAIR) from error
    if any(tensor.shape[:1] != (rows,) for tensor in held.values()):
        raise StoreError("A shard does not hold the rows of its commit.", where=str(path), remedy=REPAIR)
    return held


def _link_or_copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
