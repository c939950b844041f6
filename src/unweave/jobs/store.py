"""`unweave store info|check|repair|delete|compact|merge`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from unweave.data.config import ReadingConfig
from unweave.errors import ConfigError

if TYPE_CHECKING:
    from unweave.store.log import Fault


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """Look after a gradient store.

    Attributes:
        store: Its folder.
    """

    store: Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True, kw_only=True)
class DeleteRowsConfig(StoreConfig, ReadingConfig):
    """Take rows out of a gradient store; `unweave store compact` takes what is left of them off the disk.

    Attributes:
        rows: A file of rows, matched by id.
        row_ids: Ids of rows.
    """

    rows: Path | None = None
    row_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MergeConfig(StoreConfig):
    """Bring the stores of several machines together.

    Attributes:
        store: The folder of the result.
        sources: The stores.
    """

    sources: tuple[Path, ...] = ()


@dataclass(frozen=True)
class StoreCheck:
    """What is wrong with a store.

    Attributes:
        faults: One a file.
        notes: What a check can't see.
    """

    faults: "list[Fault]"
    notes: list[str]


@dataclass(frozen=True)
class StoreRepair:
    """What a repair did.

    Attributes:
        rows_to_cache: The rows that were withdrawn.
        taken_away: What was mended, in words.
        left: What was not.
    """

    rows_to_cache: list[str]
    taken_away: list[str]
    left: list[str]


def describe(config: StoreConfig) -> dict[str, Any]:
    """A store's description.

    Args:
        config: Which.

    Returns:
        A JSON object.
    """
    from unweave.store.store import GradientStore

    return GradientStore.open(config.store).info()


def check(config: StoreConfig) -> StoreCheck:
    """Compare every file with its digest.

    Args:
        config: Which store.

    Returns:
        What is wrong.
    """
    from unweave.store.maintenance import check_notes, find_faults
    from unweave.store.store import GradientStore

    store = GradientStore.open(config.store)
    return StoreCheck(find_faults(store), check_notes(store))


def repair(config: StoreConfig) -> StoreRepair:
    """Take away what is damaged and caching makes anew: shards, texts, records.

    Args:
        config: Which store.

    Returns:
        What was done.
    """
    from unweave.store.maintenance import find_faults, repair_store
    from unweave.store.store import GradientStore

    store = GradientStore.open(config.store)
    before = find_faults(store)
    lost = repair_store(store)
    left = [fault.text for fault in find_faults(store)]
    return StoreRepair(lost, [fault.text for fault in before if fault.text not in left], left)


def delete(config: DeleteRowsConfig) -> dict[str, list[str]]:
    """Take rows out of a store.

    Args:
        config: Which rows of which store.

    Returns:
        Their ids, as `deleted`.

    Raises:
        ConfigError: When no rows are named, or in two ways.
    """
    from unweave.data.remembered import read_remembering, remembered_columns
    from unweave.store.store import GradientStore

    if (config.rows is None) == (not config.row_ids):
        raise ConfigError("Say which rows to delete.", where="`rows`, `row_ids`", remedy="give exactly one of them")
    ids = list(config.row_ids)
    if config.rows:
        ids = [row.id for row in read_remembering(config.rows, config, remembered_columns(config.store)).rows]
    store = GradientStore.open(config.store)
    with store.writing():
        # A run that was killed may have taken them out already.
        store.delete([row_id for row_id in ids if row_id not in store.deleted()])
    return {"deleted": ids}


def compact(config: StoreConfig) -> dict[str, int]:
    """Take what is left of deleted rows off the disk.

    Args:
        config: Which store.

    Returns:
        Their number, as `removed_rows`.
    """
    from unweave.store.maintenance import compact_store
    from unweave.store.store import GradientStore

    return {"removed_rows": compact_store(GradientStore.open(config.store))}


def merge(config: MergeConfig) -> dict[str, Any]:
    """Bring stores together.

    Args:
        config: Which, and where to.

    Returns:
        The description of the result.

    Raises:
        ConfigError: When there are none.
    """
    from unweave.store.maintenance import merge_stores

    if not config.sources:
        raise ConfigError("There is nothing to merge.", where="`sources`", remedy="give the folders of the stores")
    return merge_stores(config.sources, config.store).info()
