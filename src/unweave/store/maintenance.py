"""Looking after a store: check it against its digests, compact it after deletions, merge stores of several machines."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from unweave.data.remembered import remember_columns, remembered_columns
from unweave.errors import DataError, StoreError
from unweave.files import file_digest
from unweave.replacing import link_or_copy, remove
from unweave.store.log import LOG, Fault
from unweave.store.outputs import forget_outputs
from unweave.store.records import INDEX, read_commit, read_deletion
from unweave.store.shards import Commit
from unweave.store.store import GradientStore
from unweave.store.texts import FILE as TEXTS
from unweave.store.texts import merge_texts, read_texts, remove_texts

DESCRIPTION = "store.json"


def check_store(store: GradientStore) -> list[str]:
    """Compare every file with its digest: shards with their commits, all else with the store's log.

    Args:
        store: The store.

    Returns:
        What is wrong, with the rows to cache anew; empty when all is well.
    """
    return [fault.text for fault in find_faults(store)]


def find_faults(store: GradientStore) -> list[Fault]:
    """What `check_store` finds, by file.

    Args:
        store: The store.

    Returns:
        One fault a file.
    """
    found = {fault.file: fault for fault in [*_missing_log(store), *store.log.faults()]}
    for fault in (*_broken_texts(store), *_broken_deletions(store), *_broken_shards(store)):
        found.setdefault(fault.file, fault)
    return list(found.values())


def check_notes(store: GradientStore) -> list[str]:
    """What a check can't see.

    Args:
        store: The store.

    Returns:
        Sentences; none for a store with a log.
    """
    if store.log.exists() or store.log.promised():
        return []
    return [
        "this store was made before ids, texts, deletions and descriptions were covered: only its shards are checked; "
        "the next command that writes to it covers the rest from then on"
    ]


def _missing_log(store: GradientStore) -> Iterator[Fault]:
    if store.log.promised() and not store.log.exists():
        yield Fault(LOG, f"{LOG} is missing, which vouches for ids, texts, deletions and descriptions")


def _broken_texts(store: GradientStore) -> Iterator[Fault]:
    try:
        read_texts(store.folder)
    except StoreError as error:
        yield Fault(TEXTS, f"{TEXTS} can't be read: {error.sentence}")


def _broken_deletions(store: GradientStore) -> Iterator[Fault]:
    for path in store.deletions():
        try:
            read_deletion(path)
        except DataError as error:
            yield Fault(f"deletions/{path.name}", f"deletions/{path.name} is broken: {error.sentence}")


def _broken_shards(store: GradientStore) -> Iterator[Fault]:
    for record in store.committed():
        try:
            commit = read_commit(record)
        except (DataError, StoreError) as error:
            yield Fault(f"commits/{record.name}", f"commits/{record.name} is broken: {error.sentence}")
            continue
        path = store.shard_path(commit.name)
        rows = f"{len(commit.row_ids)} rows from '{commit.row_ids[0]}'"
        text = None
        if not path.is_file():
            text = f"{path.name} is missing ({rows})"
        elif path.stat().st_size != commit.size:
            text = f"{path.name} has {path.stat().st_size} bytes, its commit says {commit.size} ({rows})"
        elif file_digest(path) != commit.digest:
            text = f"{path.name} differs from its digest ({rows})"
        if text is not None:
            yield Fault(f"shards/{path.name}", text)


def repair_store(store: GradientStore) -> list[str]:
    """Take away what is damaged and can be made anew: shards with their commits, texts, columns, records of runs, approximate indexes.

    What can't be made anew stays as it is, and `check_store` goes on naming it: the store's description, and its deletions.

    Args:
        store: The store.

    Returns:
        The ids of the rows to cache anew, as far as they can be named.
    """
    with store.writing(repairing=True):
        faults = find_faults(store)
        # Where the log itself is damaged, that it lacks a file says nothing against the file.
        if any(fault.file == LOG for fault in faults):
            faults = [fault for fault in faults if not fault.strange]
        lost: list[str] = []
        for fault in faults:
            lost += _mended(store, fault)
        left = {fault.file for fault in faults if not mends(fault)}
        expected = {name: digests for name, digests in store.log.expected().items() if name in left}
        vouched = {name: (file_digest(store.folder / name),) for name in store.log.present() if name not in left}
        store.log.write({**vouched, **expected})
        store.refresh()
    return list(dict.fromkeys(lost))


def mends(fault: Fault) -> bool:
    """Whether repairing mends a fault.

    Args:
        fault: The fault.

    Returns:
        False for what can't be made anew.
    """
    return fault.file != DESCRIPTION and not fault.file.startswith("deletions/")


def _mended(store: GradientStore, fault: Fault) -> list[str]:
    """Take away what is damaged; the rows that go with it, where they can be named."""
    lost: list[str] = []
    kind, _, name = fault.file.rpartition("/")
    if kind in ("shards", "commits"):
        with contextlib.suppress(DataError, StoreError):
            lost += read_commit(store.commit_path(Path(name).stem)).row_ids
        store.withdraw_named(Path(name).stem)
    elif kind == INDEX:
        store.drop_index()
    elif mends(fault) and fault.file != LOG:
        remove(store.folder / fault.file)
    return lost


def compact_store(store: GradientStore) -> int:
    """Rewrite the shards that hold deleted or replaced rows without them, take those rows' texts out of `rows.parquet`, and drop what was made from sketches.

    Killed at any point, it leaves the deletions in force, and the next run goes on: the shard without the rows is committed before the
    one with them goes.

    Args:
        store: The store.

    Returns:
        Rows that left the disk.
    """
    with store.writing():
        gone, contents = store.deleted(), store.contents()
        # What counts is decided before the first shard goes: with it goes what says that another was replaced.
        removed = store.rewrite({commit.name: store.kept(commit) for commit in store.commits()})
        store.drop_index()
        forget_outputs(store, gone)
        remove_texts(store.folder, gone, contents)
        for path in store.deletions():
            remove(path)
        store.log.rewrite()
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
                link_or_copy(store.shard_path(commit.name), merged.shard_path(name))
                merged.publish(Commit(name, commit.row_ids, commit.size, commit.digest, commit.contents))
            merge_texts(store.folder, target)
            merged.delete(sorted(store.deleted() & merged.names()))
    return merged
