"""What works with which model: architectures x kinds of adapters, tiny, with random weights.

    python benchmarks/model_matrix.py                       benchmarks/results/model_matrix.json, and docs/models.md with python docs/generate.py
    python benchmarks/model_matrix.py --only llama mamba    these architectures; the others keep their results

Each cell trains (or takes) an adapter, loads it again, unlearns from it, loads that again, and merges it (`tests/matrix.py`); all are compared with
logits in float32. About ten minutes on one core.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from result_files import RESULTS, ROOT, load
from unweave import progress
from unweave.files import write_json
from unweave.runs import environment

sys.path.insert(0, str(ROOT))
from tests.architectures import ARCHITECTURES
from tests.matrix import ADAPTERS, CHECKS, run

NAME = "model_matrix"


def main() -> None:
    """Run the cells, and write the result file as they end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(ARCHITECTURES))
    options = parser.parse_args()
    progress.silence()
    torch.set_num_threads(1)
    path = RESULTS / f"{NAME}.json"
    kept = load(NAME)["cells"] if path.is_file() else {}
    started = time.monotonic()
    for name in ARCHITECTURES:
        if name not in options.only:
            continue
        kept[name] = {}
        for kind in ADAPTERS:
            with tempfile.TemporaryDirectory() as folder:
                kept[name][kind] = run(name, kind, Path(folder))
            print(f"{name:22}{kind:18}{summary(kept[name][kind])}", flush=True)
        cells = {known: kept[known] for known in ARCHITECTURES if known in kept}
        outcomes = [one.partition(":")[0] for row in cells.values() for cell in row.values() for one in cell.values()]
        result = {
            "adapters": list(ADAPTERS),
            "checks": list(CHECKS),
            "counts": {kind: outcomes.count(kind) for kind in ("equal", "refused", "none", "wrong")},
            "cells": cells,
            "seconds": round(time.monotonic() - started),
            "environment": environment(),
        }
        write_json(path, result)


def summary(cell: dict[str, str]) -> str:
    """A cell in a line."""
    others = [f"{check} {outcome}" for check, outcome in cell.items() if outcome != "equal"]
    return "; ".join(others) or "equal"


if __name__ == "__main__":
    main()
