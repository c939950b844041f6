"""What the commands of a store take as its rows grow to a million: seconds and peak memory, each in a process of its own.

    python benchmarks/growth_store.py                  benchmarks/results/growth_store.json
    python benchmarks/growth_store.py --rows 10000     only so many rows

Generated sketches, K = 64 in float16, so that what grows is what belongs to a row and not its sketch; commits of 4,096 rows, one thread, files in the page
cache. A process is forked for each command after everything is imported, and the system's mark of the most memory resident is put back in it: what is
reported is that mark above what the process began with, mapped pages of the store included. `filter` is a scan that keeps the scores of every tenth row
besides, `delete` takes out every hundredth row, `compact` takes these off the disk, for which every shard is written anew. Figures are written one by one.
"""

import argparse
import functools
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from forked import forked_peak
from unweave.attribution.retrieval import search
from unweave.files import write_json
from unweave.run.folder import environment
from unweave.store.format import StoreSpec
from unweave.store.maintenance import compact_store
from unweave.store.store import GradientStore

K, COMMIT = 64, 4096
ROWS = (10_000, 100_000, 1_000_000)


def make(folder: Path, rows: int) -> None:
    """Commit the rows: a block of random sketches, over and over."""
    spec = StoreSpec(
        model="random", adapter=None, model_fingerprint="", tokenizer_fingerprint="", encoding={}, parameters="lora", parameter_names="", sketch="fold",
        dimension=K, sketch_seed=42, normalize="tensor", reduction="mean", number_format="float16",
    )  # fmt: skip
    store = GradientStore.create(folder, spec)
    block = torch.randn(COMMIT, K, generator=torch.Generator().manual_seed(0))
    with store.writing():
        for start in range(0, rows, COMMIT):
            count = min(COMMIT, rows - start)
            ids = [f"r{start + index}" for index in range(count)]
            store.commit(ids, block[:count], torch.ones(count), torch.ones(count))


def scan(folder: Path, rows: int) -> None:
    """The top 10 of all rows."""
    found = search(GradientStore.open(folder), _query(), top_k=10)
    assert len(found.rankings[0].helpful) == 10
    del rows


def filtered(folder: Path, rows: int) -> None:
    """The same, and the scores of every tenth row."""
    search(GradientStore.open(folder), _query(), top_k=10, places=torch.arange(0, rows, 10))


def delete(folder: Path, rows: int) -> None:
    """Take every hundredth row out."""
    store = GradientStore.open(folder)
    with store.writing():
        store.delete([f"r{index}" for index in range(0, rows, 100)])


def compact(folder: Path, rows: int) -> None:
    """Take them off the disk."""
    assert compact_store(GradientStore.open(folder)) == -(-rows // 100)


COMMANDS: dict[str, Callable[[Path, int], None]] = {
    "cache": make, "scan": scan, "filter": filtered, "delete": delete, "compact": compact,
}  # fmt: skip


def timed(command: Callable[[Path, int], None], folder: Path, rows: int) -> dict[str, float]:
    """What a command takes."""
    start, used = time.perf_counter(), time.process_time()
    command(folder, rows)
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - used}


def _query() -> torch.Tensor:
    return torch.randn(1, K, generator=torch.Generator().manual_seed(1))


def main() -> None:
    """Measure, number by number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "growth_store.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for rows in options.rows:
        place = Path(tempfile.mkdtemp(prefix="growth-"))
        try:
            for name, command in COMMANDS.items():
                own, peak = forked_peak(functools.partial(timed, command, place / "store", rows))
                size = sum(path.stat().st_size for path in (place / "store").rglob("*") if path.is_file())
                found.append(
                    {"rows": rows, "command": name, **own, "peak_mib": peak / 2**20, "store_mib": size / 2**20}
                )
                print(json.dumps(found[-1]), flush=True)
                write_json(
                    options.output,
                    {
                        "command": "python benchmarks/growth_store.py",
                        "environment": environment(),
                        "dimension": K,
                        "points": found,
                    },
                )
        finally:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
