"""What works with which model: architectures x kinds of adapters, tiny, with random weights.

    python benchmarks/model_matrix.py                       benchmarks/results/model_matrix.json, and docs/models.md with python docs/generate.py
    python benchmarks/model_matrix.py --only llama mamba    these architectures; the others keep their results
    python benchmarks/model_matrix.py --part gradients      the gradients alone; the adapters keep their results

Two parts. *Adapters*: each cell trains (or takes) an adapter, loads it again, unlearns from it, loads that again, and merges it (`tests/matrix.py`);
all are compared with logits in float32. *Gradients*: per-sample gradients against a loop of `torch.autograd.grad` (`tests/verdicts.py`). Some
ten minutes and two on one core.
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
from unweave.run.folder import environment

sys.path.insert(0, str(ROOT))
from tests.architectures import ARCHITECTURES
from tests.matrix import ADAPTERS, CHECKS, run
from tests.verdicts import ADAPTERS as GRADIENT_ADAPTERS
from tests.verdicts import verdict

NAME = "model_matrix"
PARTS = ("adapters", "gradients")
SELECTIONS = ("all", "linear", "lora")
EVERY_KIND = "llama"
"""The architecture on which gradients of all kinds of adapters are compared."""


def main() -> None:
    """Run the cells, and write the result file as they end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--part", choices=PARTS, nargs="*", default=PARTS)
    options = parser.parse_args()
    progress.silence()
    torch.set_num_threads(1)
    path = RESULTS / f"{NAME}.json"
    kept = load(NAME) if path.is_file() else {}
    cells, gradients = kept.get("cells", {}), kept.get("gradients", {})
    seconds = dict(kept.get("seconds", {}))
    for part in options.part:
        started = time.monotonic()
        for name in [name for name in ARCHITECTURES if name in options.only]:
            if part == "adapters":
                cells[name] = adapter_cells(name)
            else:
                gradients[name] = gradient_cells(name)
            seconds[part] = round(time.monotonic() - started)
            write_json(path, {**summed_up(cells, gradients), "seconds": seconds, "environment": environment()})


def adapter_cells(name: str) -> dict[str, dict[str, str]]:
    """What becomes of each kind of adapter on an architecture."""
    found = {}
    for kind in ADAPTERS:
        with tempfile.TemporaryDirectory() as folder:
            found[kind] = run(name, kind, Path(folder))
        print(f"{name:22}{kind:18}{summary(found[kind])}", flush=True)
    return found


def gradient_cells(name: str) -> dict[str, str]:
    """Whether the gradients of an architecture are right."""
    found = {}
    for kind in (*SELECTIONS, *(GRADIENT_ADAPTERS if name == EVERY_KIND else ())):
        one = verdict(name, kind)
        found[kind] = one.outcome if one.outcome == "equal" else f"{one.outcome}: {one.detail}"
        print(f"{name:22}{kind:18}gradients {found[kind]}", flush=True)
    return found


def summed_up(cells: dict, gradients: dict) -> dict:
    """The cells in the order of the architectures, and how often each outcome comes."""
    cells, gradients = ({name: part[name] for name in ARCHITECTURES if name in part} for part in (cells, gradients))
    checks = [one.partition(":")[0] for row in cells.values() for cell in row.values() for one in cell.values()]
    compared = [one.partition(":")[0] for row in gradients.values() for one in row.values()]
    return {
        "adapters": list(ADAPTERS),
        "checks": list(CHECKS),
        "counts": {kind: checks.count(kind) for kind in ("equal", "refused", "none", "wrong")},
        "cells": cells,
        "selections": list(SELECTIONS),
        "gradient_counts": {kind: compared.count(kind) for kind in ("equal", "refused", "not offered", "wrong")},
        "gradients": gradients,
    }


def summary(cell: dict[str, str]) -> str:
    """A cell in a line."""
    others = [f"{check} {outcome}" for check, outcome in cell.items() if outcome != "equal"]
    return "; ".join(others) or "equal"


if __name__ == "__main__":
    main()
