"""`unweave store info|check`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unweave.cli.common import parse, print_json, print_pairs


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """Look at a gradient store.

    Attributes:
        action: `info` describes it, `check` compares every shard with its digest.
        store: Its folder.
    """

    action: Annotated[Literal["info", "check"], tyro.conf.Positional]
    store: Annotated[Path, tyro.conf.Positional]


def main(argv: Sequence[str]) -> int:
    """Describe or check a store.

    Args:
        argv: The arguments.

    Returns:
        The exit code; 1 when a check finds damage.
    """
    config, common = parse(StoreConfig, argv, command="store", description="Describe or check a gradient store.")
    from unweave.store.store import GradientStore

    store = GradientStore.open(config.store)
    if config.action == "info":
        (print_json if common.json else lambda value: print_pairs("store", value))(store.info())
        return 0
    faults = store.check()
    if common.json:
        print_json({"ok": not faults, "faults": faults})
    else:
        print(
            "\n".join(faults) + "\nremedy: remove the commits of these shards and cache again"
            if faults
            else f"{config.store}: all shards match their digests"
        )
    return 1 if faults else 0
