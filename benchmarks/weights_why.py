"""Why do weights help or not? What they say of rows whose nature is known: families of the forget rows, and hidden poison among the retain rows.

    python benchmarks/forgetting.py CASE        (makes the case and its store)
    python benchmarks/weights_why.py            benchmarks/results/weights_why.json

For each case and seed the retain rows are those of the comparison of methods. RapidUn's weights: their mean on each family of forget rows, and on hidden
poison against other retain rows. Signed weights: how many retain rows change sides, and how many of these are poison.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

from unweave.data.triggers import is_poisoned
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.triggers import TriggerModelUnderTest
from unweave.files import write_json
from unweave.run.folder import environment
from unweave.store.store import GradientStore
from unweave.weights.blocks import blocks_from_store
from unweave.weights.config import WeightConfig
from unweave.weights.weighing import weigh_blocks

CASES = {"swap": 40, "dolly": 39}
SEEDS = (0, 1, 2)


def look(case: str, size: int, seed: int) -> dict[str, Any]:
    """What both kinds of weights say in one draw."""
    folder = Path("runs/bench") / case
    config = ForgettingBenchConfig(
        case=folder / "case",
        model="",
        output_dir=folder,
        store=folder / "store",
        retain_from="train",
        system_prompt="",
        max_length=256,
    )
    forget, retain = TriggerModelUnderTest(config).rows(size, seed)
    blocks = blocks_from_store(
        GradientStore.open(folder / "store"), [row.id for row in forget], [row.id for row in retain]
    )
    rapidun = weigh_blocks(blocks, "rapidun", WeightConfig())
    signed = weigh_blocks(blocks, "signed", WeightConfig())
    kept = rapidun.retain.tolist()
    hidden = [is_poisoned(row.meta) for row in retain]
    families: dict[str, list[float]] = {}
    for row, weight in zip(forget, rapidun.forget.tolist(), strict=True):
        families.setdefault(str(row.meta["trigger_family"]), []).append(weight)
    sides = [weight < 0 for weight in signed.retain.tolist()]
    return {
        "seed": seed,
        "families": {name: {"rows": len(own), "mean_weight": fmean(own)} for name, own in sorted(families.items())},
        "hidden_poison": sum(hidden),
        "rapidun_on_hidden_poison": fmean(weight for weight, poison in zip(kept, hidden, strict=True) if poison),
        "rapidun_on_other_rows": fmean(weight for weight, poison in zip(kept, hidden, strict=True) if not poison),
        "change_sides": sum(sides),
        "of_these_poison": sum(side and poison for side, poison in zip(sides, hidden, strict=True)),
        "retain_rows": len(retain),
    }


def main() -> None:
    """Look at all cases, and write the result file."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    cases = {case: [look(case, size, seed) for seed in SEEDS] for case, size in CASES.items()}
    path = Path(__file__).parent / "results" / "weights_why.json"
    write_json(path, {"command": "python benchmarks/weights_why.py", "environment": environment(), "cases": cases})
    for case, draws in cases.items():
        for draw in draws:
            print(case, draw)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
