"""The demo over several seeds: forgetting, utility, trace quality and cost, with their spread.

    python benchmarks/demo.py --seeds 0 1 2                               benchmarks/results/demo.json
    python benchmarks/demo.py --config examples/dolly_triggers.yaml --seeds 0    benchmarks/results/dolly_triggers.json

A seed fixes the case, the training, the unlearning and the bootstrap. Runs are kept under runs/bench and continue where they stood.
"""

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Any

from unweave.config import load_yaml, to_plain
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.pipeline import run_demo
from unweave.files import write_json
from unweave.run.folder import environment

KEPT = {
    "asr.seen.before": ("asr", "seen", "before"),
    "asr.seen.after": ("asr", "seen", "after"),
    "asr.seen.retrained": ("asr", "seen", "retrained"),
    "asr.ood.before": ("asr", "ood", "before"),
    "asr.ood.after": ("asr", "ood", "after"),
    "asr.clean.after": ("asr", "clean", "after"),
    "unwanted_probability.before": ("unwanted_probability", "before"),
    "unwanted_probability.after": ("unwanted_probability", "after"),
    "clean.perplexity.before": ("clean", "perplexity", "before"),
    "clean.perplexity.after": ("clean", "perplexity", "after"),
    "clean.perplexity.relative_change": ("clean", "perplexity", "relative_change"),
    "clean.accuracy.before": ("clean", "accuracy", "before"),
    "clean.accuracy.after": ("clean", "accuracy", "after"),
    "clean.accuracy.change": ("clean", "accuracy", "change"),
    "trace.auprc": ("trace", "auprc"),
    "trace.auprc_one_answer": ("trace", "auprc_one_answer"),
    "trace.bm25.auprc": ("trace", "bm25", "auprc"),
    "trace.bm25.auprc_one_answer": ("trace", "bm25", "auprc_one_answer"),
    "trace.gradnorm.auprc": ("trace", "gradnorm", "auprc"),
    "trace.random.auprc": ("trace", "random", "auprc"),
    "weights.forget.effective_sample_size": ("weights", "forget", "effective_sample_size"),
    "weights.retain.effective_sample_size": ("weights", "retain", "effective_sample_size"),
    "cost.forgetting_seconds": ("cost", "forgetting_seconds"),
    "cost.retraining_seconds": ("cost", "retraining_seconds"),
    "cost.speedup": ("cost", "speedup"),
    "seconds.total": ("seconds", "total"),
}


def pick(metrics: dict[str, Any], path: tuple[str, ...]) -> float | None:
    """A number of a metrics file, or None where the run has none."""
    value: Any = metrics
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def main() -> None:
    """Run all seeds and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="text options to change, such as weights=uniform"
    )
    parser.add_argument("--name")
    arguments = parser.parse_args()
    base = load_yaml(DemoConfig, arguments.config, command="demo") if arguments.config else DemoConfig()
    base = dataclasses.replace(base, **dict(item.split("=", 1) for item in arguments.set))
    name = arguments.name or (arguments.config.stem if arguments.config else "demo")
    runs = []
    for seed in arguments.seeds:
        config = dataclasses.replace(
            base, seed=seed, case_seed=seed * 10, output_dir=Path("runs/bench") / f"{name}-{seed}"
        )
        metrics = run_demo(config).metrics
        numbers = {key: value for key, path in KEPT.items() if (value := pick(metrics, path)) is not None}
        runs.append({"seed": seed, "numbers": numbers, "resumed_stages": metrics["resumed_stages"], "metrics": metrics})
    spread = {}
    for key in runs[0]["numbers"]:
        values = [run["numbers"][key] for run in runs]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        spread[key] = {"mean": statistics.fmean(values), "sd": deviation, "min": min(values), "max": max(values)}
    result = {
        "command": f"python benchmarks/demo.py --seeds {' '.join(map(str, arguments.seeds))}"
        + (f" --config {arguments.config}" if arguments.config else "")
        + (f" --set {' '.join(arguments.set)} --name {name}" if arguments.set else ""),
        "environment": environment(),
        "config": to_plain(base),
        "seeds": arguments.seeds,
        "spread": spread,
        "runs": runs,
    }
    path = Path(__file__).parent / "results" / f"{name}.json"
    write_json(path, result)
    for key, value in spread.items():
        print(f"{key:<40} {value['mean']:.4g} ± {value['sd'] or 0:.2g}  [{value['min']:.4g}, {value['max']:.4g}]")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
