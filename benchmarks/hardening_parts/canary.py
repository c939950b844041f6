"""A row is forgotten, the request being killed at random moments: is its text or its sketch left in anything that was written?"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.canary import ROW_ID, canary_record, hits, sketch_needles, text_needles
from tests.folders import write_rows
from tests.forks import Forks
from tests.kills import World, build

from unweave.attribution.caching import cache_rows
from unweave.data.reading import read_rows
from unweave.engines.config import CacheConfig
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig

RUNS, KILLS = 12, 3
REQUEST = (
    "request run gone --ledger ledger --method ga --forget-config {world}/ga.yaml --retain-rows 8 --test-rows 8 --dtype float32 "
    "--target-loss 0.1 --margin 0.5 --quiet"
)
COMPACTION = "store compact store"


def run(folder: Path, *, seed: int) -> Iterator[dict[str, Any]]:
    """Forget it again and again.

    Args:
        folder: An empty folder.
        seed: Of the moments.

    Yields:
        Kills, files that were searched, and hits.
    """
    rng, world = random.Random(f"{seed} canary"), build(folder)
    needles = prepare(world)
    lines = [REQUEST.format(world=world.world), COMPACTION]

    def begin() -> None:
        world.clear()
        for name in ("ledger", "store"):
            shutil.copytree(world.world / f"canary-{name}", world.work / name)
        shutil.copy2(world.world / "canary.key", world.work / "ledger.key")

    begin()
    assert all(hits(world.work, own) for own in needles), "text and sketch are there to begin with"
    kills, files, found = 0, 0, []
    with Forks(world.scratch) as forks:
        for _ in range(2):
            # The first run imports what the others have at hand.
            begin()
            whole = forks.run(lines[0], folder=world.work)
        for _ in range(RUNS):
            begin()
            for _ in range(KILLS):
                kills += forks.run(lines[0], folder=world.work, after=rng.uniform(0, whole.seconds)).code == -9
            for line in lines:
                ended = forks.run(line, folder=world.work)
                assert ended.code in (0, 3), ended.errors
            files += sum(path.is_file() for path in world.work.rglob("*"))
            found += hits(world.work, [*needles[0], *needles[1]])
    print(f"{kills} kills, {files} files, hits: {found}", flush=True)
    yield {"runs": RUNS, "kills": kills, "files": files, "hits": len(found), "where": found}


def prepare(world: World) -> tuple[list[bytes], list[bytes]]:
    """Rows with one more, their store, and a ledger with a request to forget it.

    Args:
        world: Where.

    Returns:
        What to look for: its text, and its sketch, in every form.
    """
    record, word = canary_record()
    others = [own.to_record() for own in read_rows(world.world / "case/train.jsonl").rows]
    data, model = write_rows(world.world / "canary.jsonl", [record, *others]), str(world.world / "adapter")
    world.clear()
    store, ledger = world.work / "store", world.work / "ledger"
    options: dict[str, Any] = {"dimension": 256, "commit_rows": 4, "dtype": "float32", "max_length": 96}
    cache_rows(CacheConfig(model=model, data=data, store=store, **options))
    limits: dict[str, Any] = {"max_removed_share": 0.9, "max_perplexity_change": 10.0}
    asked: dict[str, Any] = {"row_ids": (ROW_ID,), "request_id": "gone", "ledger": ledger}
    add_request(AddConfig(data=data, model=model, store=store, **asked, **limits))
    for path in (store, ledger):
        shutil.copytree(path, world.world / f"canary-{path.name}")
    shutil.copy2(world.work / "ledger.key", world.world / "canary.key")
    return sorted(text_needles(word)), sorted(sketch_needles(store))
