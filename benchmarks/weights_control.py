"""Do influence weights beat their controls? The demo's unlearning run again with other weights, on the same poisoned models.

    python benchmarks/demo.py --seeds 0 1 2          (makes the models, under runs/bench)
    python benchmarks/weights_control.py --seeds 0 1 2      benchmarks/results/weights_control.json

Everything but the weights is as in the demo. Reported for each kind: the values after forgetting, over seeds.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from figures import over_seeds
from unweave.data.case import open_case
from unweave.data.encoding import EncodingConfig
from unweave.evaluation.behaviour import Behaviour
from unweave.evaluation.metrics import compare
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.files import read_json, write_json
from unweave.jobs.audit_case import stored_behaviour
from unweave.jobs.forget import forget_rows
from unweave.jobs.weigh import weigh_rows
from unweave.models.loading import ModelConfig, load
from unweave.run.folder import environment

KINDS = ("rapidun", "rapidun-dense", "uniform", "random")


def one(seed: int, kind: str, name: str) -> dict[str, Any]:
    """Unlearn and audit with one kind of weights."""
    folder = Path("runs/bench") / f"{name}-{seed}"
    config = DemoConfig(seed=seed, case_seed=seed * 10, output_dir=folder)
    plan, case = StagePlan(config, folder), open_case(folder / "case")
    out = folder / "controls" / kind
    weighing = dataclasses.replace(
        plan.weigh(case), method=kind, output_forget=out / "forget.jsonl", output_retain=out / "retain.jsonl"
    )
    weights = weigh_rows(weighing)
    unlearning = dataclasses.replace(
        plan.forget(case),
        output_dir=out / "unlearned",
        forget_weights=out / "forget.jsonl",
        retain_weights=out / "retain.jsonl",
    )
    forget_rows(unlearning)
    loaded = load(ModelConfig(**{**plan.trained_model("poisoned"), "model": str(out / "unlearned")}))
    encoding = EncodingConfig(**plan.shared(EncodingConfig))
    after = stored_behaviour(
        loaded, case, encoding, out / "behaviour.json", max_new_tokens=config.max_new_tokens, label=kind
    )
    before = Behaviour.from_json(read_json(folder / "behaviour.before.json", what="The behaviour before")["behaviour"])
    metrics = compare(before, after, seed=seed)
    return {
        "seed": seed,
        "asr.seen.after": metrics["asr"]["seen"]["after"],
        "asr.ood.after": metrics["asr"]["ood"]["after"],
        "unwanted_probability.after": metrics["unwanted_probability"]["after"],
        "clean.perplexity.relative_change": metrics["clean"]["perplexity"]["relative_change"],
        "clean.accuracy.change": metrics["clean"]["accuracy"]["change"],
        "effective_forget_rows": weights.forget_summary.effective_sample_size,
        "effective_retain_rows": weights.retain_summary.effective_sample_size,
    }


def main() -> None:
    """Run all kinds and seeds, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--name", default="demo")
    arguments = parser.parse_args()
    runs = {kind: [one(seed, kind, arguments.name) for seed in arguments.seeds] for kind in KINDS}
    spread: dict[str, dict[str, dict[str, float]]] = {}
    for kind, results in runs.items():
        spread[kind] = {}
        for key in results[0]:
            spread[kind][key] = over_seeds([float(result[key]) for result in results])
        print(
            kind,
            {key: f"{value['mean']:.3f} ± {value['sd']:.3f}" for key, value in spread[kind].items() if key != "seed"},
        )
    path = Path(__file__).parent / "results" / "weights_control.json"
    command = f"python benchmarks/weights_control.py --seeds {' '.join(map(str, arguments.seeds))}"
    write_json(
        path,
        {"command": command, "environment": environment(), "seeds": arguments.seeds, "spread": spread, "runs": runs},
    )
    print(f"written: {path}")


if __name__ == "__main__":
    main()
