"""kill -9 at twenty random moments of caching: every resume must end in the same rows with the same bytes.

    python benchmarks/kill.py        benchmarks/results/kill.json

`unweave cache` on 96 generated rows (SmolLM2-135M, all linear weights, commits of 8 rows) runs once undisturbed. Then a second store is made by a
command that is killed with SIGKILL at a random moment, started again, killed again, twenty times (or until it is done, after which a new store is
begun), and at last left to finish. Every finished store is compared with the first: the same rows, every stored number of every row equal bit for
bit, all shards whole.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from unweave.experiments.generated import generate
from unweave.files import write_json, write_jsonl
from unweave.run.folder import environment
from unweave.store.maintenance import check_store
from unweave.store.store import GradientStore

ROWS, KILLS = 96, 20


def contents(folder: Path) -> dict[str, tuple[bytes, float, float]]:
    """Row id to its stored bytes, scale and length."""
    store = GradientStore.open(folder)
    found = {}
    for block in store.blocks():
        stored = store.load(block)
        for index, row_id in enumerate(block.row_ids):
            found[row_id] = (
                np.asarray(stored.values[index]).tobytes(),
                float(stored.scales[index]),
                float(stored.lengths[index]),
            )
    return found


def main() -> None:
    """Kill, resume, compare, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    rng = random.Random(parser.parse_args().seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(folder / "rows.jsonl", [row.to_record() for row in generate(train_rows=ROWS).train])
        command = [
            *[
                str(Path(sys.executable).parent / "unweave"),
                "cache",
                "--data",
                str(folder / "rows.jsonl"),
                "--parameters",
                "linear",
            ],
            *["--sketch", "kronecker", "--commit-rows", "8", "--quiet", "--store"],
        ]
        start = time.monotonic()
        subprocess.run([*command, str(folder / "whole")], check=True, capture_output=True)
        seconds = time.monotonic() - start
        whole = contents(folder / "whole")
        kills, stores, partial, number = 0, 0, [], 0
        while kills < KILLS:
            target = folder / f"killed-{number}"
            process = subprocess.Popen([*command, str(target)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=rng.uniform(0.3, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                partial.append(len(GradientStore.open(target).row_ids()) if (target / "store.json").is_file() else 0)
                if kills < KILLS:
                    continue
                subprocess.run([*command, str(target)], check=True, capture_output=True)
            assert process.returncode in (0, -9), process.returncode
            assert contents(target) == whole, "a resumed store differs"
            assert check_store(GradientStore.open(target)) == []
            stores, number = stores + 1, number + 1
            print(f"{kills} kills, {stores} stores finished, all equal", flush=True)
    result = {
        "command": "python benchmarks/kill.py",
        "environment": environment(),
        "rows": ROWS,
        "kills": kills,
        "rows_committed_at_each_kill": partial,
        "finished_stores": stores,
        "byte_identical_stores": stores,
    }
    path = Path(__file__).parent / "results" / "kill.json"
    write_json(path, result)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
