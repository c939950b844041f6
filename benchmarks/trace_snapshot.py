"""Which checkpoint to trace with: an early snapshot against the final model, on the demo's own models and bad answers.

python benchmarks/demo.py --seeds 0 1 2          (makes the models, under runs/bench)
python benchmarks/trace_snapshot.py --seeds 0 1 2       benchmarks/results/trace_snapshot.json
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from figures import over_seeds
from unweave.attribution.caching import cache_rows
from unweave.data.case import open_case
from unweave.evaluation.behaviour import Behaviour
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.files import read_json, write_json
from unweave.jobs.audit_case import audit_trace
from unweave.models.loading import load
from unweave.run.folder import environment


def one(seed: int, share: float) -> dict[str, Any]:
    """auPRC of a trace with the adapter at a share of the training."""
    folder = Path("runs/bench") / f"demo-{seed}"
    config = DemoConfig(seed=seed, case_seed=seed * 10, output_dir=folder, snapshot=share)
    plan, case = StagePlan(config, folder), open_case(folder / "case")
    store = folder / "store" if share != 1 else folder / "store-final"
    caching = dataclasses.replace(plan.cache(case.path("train")), store=store)
    loaded = load(caching)
    cache_rows(caching, loaded=loaded)
    before = Behaviour.from_json(read_json(folder / "behaviour.before.json", what="The behaviour before")["behaviour"])
    _, quality = audit_trace(loaded, case, store, before, queries=config.trace_queries, seed=seed)
    value = quality.to_json()
    return {"seed": seed, "auprc": value["auprc"], "auprc_one_answer": value["auprc_one_answer"]}


def main() -> None:
    """Run both checkpoints on all seeds, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    runs = {str(share): [one(seed, share) for seed in seeds] for share in (DemoConfig.snapshot, 1.0)}
    spread: dict[str, dict[str, dict[str, float]]] = {}
    for share, results in runs.items():
        spread[share] = {}
        for key in ("auprc", "auprc_one_answer"):
            value = spread[share][key] = over_seeds([result[key] for result in results])
            print(f"at {float(share):.0%} of training: {key} {value['mean']:.3f} ± {value['sd']:.3f}")
    path = Path(__file__).parent / "results" / "trace_snapshot.json"
    command = f"python benchmarks/trace_snapshot.py --seeds {' '.join(map(str, seeds))}"
    write_json(path, {"command": command, "environment": environment(), "seeds": seeds, "spread": spread, "runs": runs})
    print(f"written: {path}")


if __name__ == "__main__":
    main()
