"""`unweave store info|check|repair|delete|compact|merge`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from unweave import terminal
from unweave.cli.common import parse, print_json, print_pairs
from unweave.data.config import ReadingConfig
from unweave.errors import ConfigError

CANNOT = (
    "remedy: what describes the store, and what was deleted from it, can't be made anew: restore it from a backup, "
    "or cache the rows that are to stay into a new store"
)


@dataclass(frozen=True, kw_only=True)
class StoreConfig(ReadingConfig):
    """Look after a gradient store.

    Attributes:
        action: `info` describes it; `check` compares every file with its digest; `repair` takes away what is damaged and caching makes anew (shards,
            texts, records), and says what it can't; `delete` takes rows out; `compact` takes what is left of deleted rows off the disk; `merge` brings
            the stores of several machines together.
        store: Its folder; for `merge` the folder of the result.
        rows: For `delete`: a file of rows, matched by id.
        row_ids: For `delete`: ids of rows.
        sources: For `merge`: the stores to bring together.
    """

    action: Annotated[Literal["info", "check", "repair", "delete", "compact", "merge"], tyro.conf.Positional]
    store: Annotated[Path, tyro.conf.Positional]
    rows: Path | None = None
    row_ids: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()


def main(argv: Sequence[str]) -> int:
    """Look after a store.

    Args:
        argv: The arguments.

    Returns:
        The exit code; 1 when a check finds damage.
    """
    config, common = parse(StoreConfig, argv, command="store", description="Look after a gradient store.")
    code, result, text = _ACTIONS[config.action](config)
    if common.json:
        print_json(result)
    elif text is None:
        print_pairs("store", result)
    else:
        for line in [text] if isinstance(text, str) else text:
            terminal.line(line)
    return code


def _info(config: StoreConfig) -> tuple[int, Any, str | None]:
    from unweave.store.store import GradientStore

    return 0, GradientStore.open(config.store).info(), None


def _check(config: StoreConfig) -> tuple[int, Any, str | Sequence[str]]:
    from unweave.store.care import check_notes, find_faults, mends
    from unweave.store.store import GradientStore

    store = GradientStore.open(config.store)
    faults, notes = find_faults(store), check_notes(store)
    lines = [fault.text for fault in faults] or [
        f"{config.store}: all shards match their digests, and so do all other files"
    ]
    if not faults and notes:
        lines = [f"{config.store}: all shards match their digests"]
    lines += [f"note: {note}" for note in notes]
    if any(mends(fault) for fault in faults):
        lines.append("remedy: run `unweave store repair`, then cache the same rows again")
    if any(not mends(fault) for fault in faults):
        lines.append(CANNOT)
    return bool(faults), {"ok": not faults, "faults": [fault.text for fault in faults], "notes": notes}, lines


def _repair(config: StoreConfig) -> tuple[int, Any, str | Sequence[str]]:
    from unweave.store.care import find_faults, repair_store
    from unweave.store.store import GradientStore

    store = GradientStore.open(config.store)
    before = find_faults(store)
    lost = repair_store(store)
    left = [fault.text for fault in find_faults(store)]
    mended = [fault.text for fault in before if fault.text not in left]
    lines = [f"taken away: {text}" for text in mended] or ["nothing that could be repaired"]
    if mended:
        lines.append(f"{len(lost)} row(s) withdrawn; cache the same rows again")
    if left:
        lines += [*(f"not repaired: {text}" for text in left), CANNOT]
    return bool(left), {"rows_to_cache": lost, "taken_away": mended, "left": left}, lines


def _delete(config: StoreConfig) -> tuple[int, Any, str | None]:
    from unweave.data.remembered import read_remembering, remembered_columns
    from unweave.store.store import GradientStore

    if (config.rows is None) == (not config.row_ids):
        raise ConfigError("Say which rows to delete.", where="--rows, --row-ids", remedy="give exactly one of them")
    ids = (
        [row.id for row in read_remembering(config.rows, config, remembered_columns(config.store)).rows]
        if config.rows
        else list(config.row_ids)
    )
    store = GradientStore.open(config.store)
    with store.writing():
        # A run that was killed may have taken them out already.
        store.delete([row_id for row_id in ids if row_id not in store.deleted()])
    text = (
        f"{len(ids)} row(s) deleted; `unweave store compact {config.store}` takes their sketches and texts off the disk"
    )
    return 0, {"deleted": ids}, text


def _compact(config: StoreConfig) -> tuple[int, Any, str | None]:
    from unweave.store.care import compact_store
    from unweave.store.store import GradientStore

    removed = compact_store(GradientStore.open(config.store))
    return 0, {"removed_rows": removed}, f"{removed} row(s) left the disk"


def _merge(config: StoreConfig) -> tuple[int, Any, str | None]:
    from unweave.store.care import merge_stores

    if not config.sources:
        raise ConfigError("There is nothing to merge.", where="--sources", remedy="give the folders of the stores")
    return 0, merge_stores(config.sources, config.store).info(), None


_ACTIONS: dict[str, Callable[[StoreConfig], tuple[int, Any, str | Sequence[str] | None]]] = {
    "info": _info,
    "check": _check,
    "repair": _repair,
    "delete": _delete,
    "compact": _compact,
    "merge": _merge,
}
