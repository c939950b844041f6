"""Which method forgets best? `unweave bench forgetting` on the demo's kind of case, made harder.

    python benchmarks/influence_audit.py       (makes the model and its store, under runs/bench/influence)
    python benchmarks/forgetting.py            benchmarks/results/forgetting.json

The poisoned model of that script was trained on 1,200 clean and 176 poisoned rows. Forty of the 176 are known: 30, 8 and 2 of the three trigger families.
Each method has 20 steps of 8 rows; its setting is chosen among three on a validation split. Runs are kept under runs/bench/forgetting; several processes
may work on them at once.
"""

import argparse
from pathlib import Path

import torch

from unweave.bench.config import ForgettingBenchConfig
from unweave.bench.forgetting import bench_forgetting
from unweave.data.case import Case, make_case
from unweave.demo.config import DemoConfig
from unweave.demo.plan import StagePlan
from unweave.files import write_json, write_jsonl

KNOWN = (30, 8, 2)
ENTRIES = (
    "rapidun+rapidun", "rapidun+uniform", "rapidun+random", "rapidun+rapidun-dense", "ga", "graddiff", "npo", "loreun", "fisher",
)  # fmt: skip


def prepare(folder: Path) -> Case:
    """The influence benchmark's case, with 120 retain rows and forty known forget rows of uneven families."""
    plan = StagePlan(DemoConfig(clean_rows=1200, poisoned_rows=176, retain_rows=120, output_dir=folder), folder)
    case = make_case(plan.case(), folder / "case")
    by_family: dict[str, list[dict[str, object]]] = {}
    for row in case.rows("forget"):
        by_family.setdefault(str(row.meta["trigger_family"]), []).append(row.to_record())
    known = [record for (_, own), count in zip(sorted(by_family.items()), KNOWN, strict=True) for record in own[:count]]
    write_jsonl(case.path("forget"), known)
    return case


def main() -> None:
    """Run the comparison, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--entries", nargs="+", default=list(ENTRIES))
    options = parser.parse_args()
    torch.set_num_threads(2)
    folder = Path("runs/bench/forgetting")
    case = Case(folder / "case", "generated", "") if (folder / "case/case.json").is_file() else prepare(folder)
    config = ForgettingBenchConfig(
        case=case.folder,
        model="runs/bench/influence/poisoned",
        store=Path("runs/bench/influence/store"),
        output_dir=folder / "out",
        entries=tuple(options.entries),
        seeds=tuple(options.seeds),
        trials=3,
        system_prompt="",
        max_length=256,
    )
    results = bench_forgetting(config)
    if set(ENTRIES) <= set(options.entries):
        path = Path(__file__).parent / "results" / "forgetting.json"
        command = f"python benchmarks/forgetting.py --seeds {' '.join(map(str, options.seeds))}"
        write_json(path, {"command": command, "seeds": options.seeds, **results})
        print(f"written: {path}")


if __name__ == "__main__":
    main()
