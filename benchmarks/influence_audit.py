"""Do influence weights beat weights that know nothing, over sizes and imbalances of the forget set? And are the scores faithful?

    python benchmarks/influence_audit.py        benchmarks/results/influence_audit.json

A case of 1,200 clean and 176 poisoned rows is trained as in the demo; its rows are cached with the early snapshot, as in the demo. `unweave audit
influence` then compares sketched with exact scores, and with EK-FAC's, and repeats the demo's unlearning (20 steps of 8 rows) with RapidUn's, uniform
and random weights for 10, 40 and 160 forget rows and 3, 10 and 30 retain rows for each (as far as the clean rows go), two seeds. What is on the disk,
under runs/bench, is not made again. With `--parts`, parts that are left out stay as they are in the result file.
"""

import argparse
from pathlib import Path

import torch

from unweave.attribution.caching import cache_rows
from unweave.config import dump_yaml
from unweave.experiments.case import make_case
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.experiments.influence.config import InfluenceAuditConfig
from unweave.experiments.influence.controls import summarise
from unweave.experiments.influence.stage import audit_influence
from unweave.files import read_json, write_json, write_text
from unweave.run.folder import environment
from unweave.train.sft import fine_tune

PARTS = "sketch", "gauss-newton", "controls"


def main() -> None:
    """Make the models, run the audit, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    seeds = tuple(options.seeds)
    torch.set_num_threads(options.threads)
    folder = Path("runs/bench/influence")
    plan = StagePlan(DemoConfig(clean_rows=1200, poisoned_rows=176, output_dir=folder), folder)
    case = make_case(plan.case(), folder / "case")
    fine_tune(plan.train(case))
    cache_rows(plan.cache(case.path("train")))
    write_text(folder / "forget.yaml", dump_yaml("forget", plan.forget(case)))
    result = audit_influence(
        InfluenceAuditConfig(
            store=folder / "store",
            case=case.folder,
            output_dir=folder / "audit",
            parts=tuple(options.parts),
            forget_config=folder / "forget.yaml",
            seeds=seeds,
        )
    )
    path = Path(__file__).parent / "results" / "influence_audit.json"
    command = f"python benchmarks/influence_audit.py --seeds {' '.join(map(str, seeds))}"
    if set(options.parts) != set(PARTS):
        earlier = read_json(path, what="The earlier result")
        result = {**earlier["result"], **result}
        # Summed up anew from the runs, which are kept.
        controls = result["controls"]
        result["controls"] = summarise(controls["runs"], [controls["first"], *controls["against"]])
    write_json(path, {"command": command, "environment": environment(), "seeds": list(seeds), "result": result})
    for kind, measures in result["controls"]["against"].items():
        for name, value in measures.items():
            print(
                f"rapidun - {kind}: {name} {value['value']:+.4f} [{value['low']:+.4f}, {value['high']:+.4f}] p {value['p_holm']:.3f}"
            )
    print(f"written: {path}")


if __name__ == "__main__":
    main()
