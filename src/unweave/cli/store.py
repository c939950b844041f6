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


@dataclass(frozen=True, kw_only=True)
class StoreConfig(ReadingConfig):
    """Look after a gradient store.

    Attributes:
        action: `info` describes it; `check` compares every shard with its digest; `repair` withdraws damaged shards, so that caching makes
            their rows anew; `delete` takes rows out; `compact` takes what is left of deleted rows off the disk; `merge` brings the stores
            of several machines together.
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
    from unweave.store.care import check_store
    from unweave.store.store import GradientStore

    faults = check_store(GradientStore.open(config.store))
    text = f"{config.store}: all shards match their digests"
    if faults:
        text = [*faults, "remedy: run `unweave store repair`, then cache the same rows again"]
    return bool(faults), {"ok": not faults, "faults": faults}, text


def _repair(config: StoreConfig) -> tuple[int, Any, str | None]:
    from unweave.store.care import repair_store
    from unweave.store.store import GradientStore
    from unweave.store.texts import repair_texts

    store = GradientStore.open(config.store)
    with store.writing():
        texts = repair_texts(config.store)
    lost = repair_store(store)
    text = f"{len(lost)} row(s) withdrawn" + ("; texts that could not be read were taken away" if texts else "")
    result = {"rows_to_cache": lost, "texts_taken_away": texts}
    return 0, result, text + ("; cache the same rows again" if lost or texts else "")


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
        store.delete(ids)
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
