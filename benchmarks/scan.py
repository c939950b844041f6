"""Retrieval at size: bandwidth of a scan against a plain sum over the same mapped files, and 50,000 rows within 1 GiB.

    python benchmarks/scan.py        benchmarks/results/scan.json

Stores of random rows, K = 65,536, two threads, one query, files in the page cache where they fit. Bandwidth: 16,384 rows in each format; the floor is
numpy's sum over the same mapped bytes (as 64-bit integers, by two threads), in turn, five rounds. Then a store of 50,000 rows in float16 (6.5 GB) is
searched for the top 10 on both sides by a fresh process, whose own peak memory is measured, mapped pages of the store included.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from figures import spread
from unweave.attribution.retrieval import influence_scores, search
from unweave.files import write_json
from unweave.run.folder import environment
from unweave.store.format import StoreSpec
from unweave.store.store import GradientStore

K, ROWS, LARGE, ROUNDS, COMMIT = 65_536, 16_384, 50_000, 5, 512


def make_store(folder: Path, number_format: str, rows: int) -> GradientStore:
    """A store of random rows; a thousand different ones, over and over, since the numbers do not matter here."""
    spec = StoreSpec(
        model="random", adapter=None, model_fingerprint="", tokenizer_fingerprint="", encoding={}, parameters="lora", parameter_names="", sketch="fold",
        dimension=K, sketch_seed=42, normalize="tensor", reduction="mean", number_format=number_format,
    )  # fmt: skip
    store = GradientStore.create(folder, spec)
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(COMMIT, K, generator=generator)
    with store.writing():
        for start in range(0, rows, COMMIT):
            count = min(COMMIT, rows - start)
            ids = [f"r{start + index}" for index in range(count)]
            store.commit(ids, block[:count], torch.ones(count), torch.ones(count))
    return store


def plain_sum(store: GradientStore) -> float:
    """Seconds of a sum over the mapped sketches of all shards."""

    def one(block: Any) -> int:
        values = store.load(block).values
        return int(values.reshape(-1).view(np.int64).sum())

    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, store.blocks()))
    return time.perf_counter() - start


def scan(store: GradientStore, query: torch.Tensor) -> float:
    """Seconds of one scan."""
    start = time.perf_counter()
    influence_scores(store, query)
    return time.perf_counter() - start


def bandwidth(folder: Path) -> dict[str, Any]:
    """Gigabytes a second of scan and sum, for each format."""
    found = {}
    for number_format in ("float16", "int8", "sign"):
        store = make_store(folder / number_format, number_format, ROWS)
        size = sum(store.load(block).values.nbytes for block in store.blocks())
        query = torch.randn(1, K, generator=torch.Generator().manual_seed(1))
        scan(store, query), plain_sum(store)
        pairs = [(plain_sum(store), scan(store, query)) for _ in range(ROUNDS)]
        ratios = [floor / own for floor, own in pairs]
        found[number_format] = {
            "gigabytes": size / 1e9,
            "scan_gb_per_s": size / 1e9 / statistics.median(own for _, own in pairs),
            "sum_gb_per_s": size / 1e9 / statistics.median(floor for floor, _ in pairs),
            "ratio": spread(ratios),
            "rows_per_s": ROWS / statistics.median(own for _, own in pairs),
        }
        four = torch.randn(4, K, generator=torch.Generator().manual_seed(2))
        scan(store, four)
        times = [scan(store, four) for _ in range(3)]
        found[number_format]["four_queries_gb_per_s"] = size / 1e9 / statistics.median(times)
        print(number_format, json.dumps(found[number_format], indent=None), flush=True)
    return found


def search_once(folder: Path) -> None:
    """What the fresh process does: one search, and its peak memory."""
    torch.set_num_threads(2)
    store = GradientStore.open(folder)
    query = torch.randn(1, K, generator=torch.Generator().manual_seed(1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    found = search(store, query, top_k=10).rankings
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak_gib": peak, "before_gib": before, "best": found[0].helpful[0].row_id}))


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--search", type=Path, help="internal: search this store and print the peak memory")
    parser.add_argument("--folder", type=Path, help="where the stores go; they take 9 GB")
    options = parser.parse_args()
    if options.search:
        search_once(options.search)
        return
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        formats = bandwidth(Path(name))
        make_store(Path(name) / "large", "float16", LARGE)
        command = [sys.executable, __file__, "--search", str(Path(name) / "large")]
        runs = [
            json.loads(
                subprocess.run(
                    command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "2"}
                ).stdout
            )
            for _ in range(3)
        ]
    result = {
        "command": "python benchmarks/scan.py",
        "environment": environment(),
        "dimension": K,
        "rows": ROWS,
        "formats": formats,
        "large": {
            "rows": LARGE,
            "gigabytes": LARGE * K * 2 / 1e9,
            "seconds": spread([run["seconds"] for run in runs]),
            "peak_gib": max(run["peak_gib"] for run in runs),
            "before_gib": max(run["before_gib"] for run in runs),
        },
    }  # fmt: skip
    path = Path(__file__).parent / "results" / "scan.json"
    write_json(path, result)
    print(json.dumps(result["large"]))
    print(f"written: {path}")


if __name__ == "__main__":
    main()
