"""Tracing with only the final adapter: how well each recovery finds the poisoned rows, beside an early snapshot of the training itself.

    python benchmarks/final_adapter.py --cases demo dolly_triggers --seeds 0 1 2      benchmarks/results/final_adapter.json
    python benchmarks/final_adapter.py --cases demo --seeds 0 --smoke --model TINY    a check of the script; writes runs/bench/final_adapter.smoke.json

A model is poisoned as in the demo (as in examples/dolly_triggers.yaml for dolly_triggers, which needs the folders named there), and keeps one adapter at
6 % of its training. The same unwanted answers of the final model are traced to all training rows with: that snapshot; the final adapter; the final adapter
with its update scaled; an adapter retrained from the base on a sample of the rows; and of these centred (the mean sketch of all rows taken off the query's)
or with a preconditioner (on gradients that are not normalised). auPRC of the mean score over the answers, and of one answer (mean). Every part is
written as it ends, and what the file has is not measured again.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unweave.attribution.caching import cache_rows
from unweave.attribution.config import CachingConfig, RetrievalConfig
from unweave.attribution.model import store_model
from unweave.attribution.tracing import trace_rows
from unweave.config import load_yaml
from unweave.data.case import Case
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.data.triggers import is_poisoned
from unweave.evaluation.tracing import bad_generations
from unweave.experiments.case import make_case
from unweave.experiments.demo.config import QUICK, DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.files import read_json, write_json
from unweave.jobs.audit import stored_behaviour
from unweave.jobs.config import TraceConfig
from unweave.models.loading import ModelConfig, load
from unweave.run.folder import environment
from unweave.stats.ranking import average_precision
from unweave.store.store import GradientStore
from unweave.train.sft import fine_tune
from unweave.train.snapshots import snapshot_folder

ROOT = Path(__file__).parents[1]
BLOCK = 256


@dataclass(frozen=True)
class Recovery:
    """A way to trace with a model.

    Attributes:
        name: Of the part.
        mode: The checkpoint mode; `snapshot` is the training's own.
        scale: Of `scaled`.
        rows: Of `retrained`.
        centred: Whether the mean sketch is taken off the query's.
        preconditioner: Between query and row.
    """

    name: str
    mode: Any
    scale: float = 0.1
    rows: int = 256
    centred: bool = False
    preconditioner: str = "none"


RECOVERIES = [
    Recovery("snapshot", "snapshot"),
    Recovery("final", "final"),
    *(Recovery(f"scaled {scale:g}", "scaled", scale=scale) for scale in (0.05, 0.1, 0.2, 0.3)),
    *(Recovery(f"retrained {rows}", "retrained", rows=rows) for rows in (64, 128, 256)),
    Recovery("final, centred", "final", centred=True),
    Recovery("scaled 0.1, centred", "scaled", centred=True),
    Recovery("retrained 256, centred", "retrained", centred=True),
    Recovery("final, trak", "final", preconditioner="trak"),
    Recovery("scaled 0.1, trak", "scaled", preconditioner="trak"),
    Recovery("final, adam", "final", preconditioner="adam"),
]


def plan_of(name: str, seed: int, options: argparse.Namespace) -> StagePlan:
    """The poisoning of a case."""
    folder = ROOT / "runs/bench" / f"final-adapter-{name}-{seed}{'-smoke' if options.smoke else ''}"
    example = ROOT / "examples/dolly_triggers.yaml"
    config = DemoConfig() if name == "demo" else load_yaml(DemoConfig, example, command="demo")
    changes: dict[str, Any] = {"output_dir": folder, "seed": seed, "case_seed": 10 * seed}
    if options.model is not None:
        changes["model"] = options.model
    if options.smoke:
        changes |= {
            **{key: value for key, value in QUICK.items() if key != "forget_epochs"},
            "epochs": 1.0,
            "dimension": 512,
        }
    return StagePlan(dataclasses.replace(config, **changes), folder)


def prepare(plan: StagePlan, *, smoke: bool) -> tuple[Case, list[Row]]:
    """The case, the poisoned model with its snapshot, and the answers to trace; what is there already is not made again."""
    case, config = make_case(plan.case(), plan.folder / "case"), plan.config
    fine_tune(plan.train(case))
    if smoke:
        # What a tiny model answers is no answer.
        return case, case.rows("unwanted")[:4]
    loaded = load(ModelConfig(**plan.trained_model("poisoned")))
    encoding = EncodingConfig(**plan.shared(EncodingConfig))
    path = plan.folder / "behaviour.before.json"
    before = stored_behaviour(loaded, case, encoding, path, max_new_tokens=config.max_new_tokens, label="poisoned")
    return case, bad_generations(before, case, count=config.trace_queries)


def measure(plan: StagePlan, case: Case, queries: Sequence[Row], recovery: Recovery) -> dict[str, Any]:
    """auPRC of one recovery, and the seconds that caching and tracing take."""
    folder = Path("poisoned")
    if recovery.mode == "snapshot":
        folder = snapshot_folder(folder, plan.config.snapshot)
    normalize = "none" if recovery.preconditioner != "none" else "tensor"
    store = plan.folder / f"store {recovery.name}".replace(",", "").replace(" ", "-")
    started = time.monotonic()
    cache_rows(
        CachingConfig(
            **plan.trained_model(str(folder)),
            **plan.shared(EncodingConfig),
            data=case.path("train"),
            store=store,
            dimension=plan.config.dimension,
            normalize=normalize,
            checkpoint_mode="final" if recovery.mode == "snapshot" else recovery.mode,
            checkpoint_scale=recovery.scale,
            checkpoint_rows=recovery.rows,
        )
    )
    opened = GradientStore.open(store)
    loaded = load(store_model(opened.spec, TraceConfig(store=store)))
    traced = trace_rows(opened, loaded, queries, RetrievalConfig(preconditioner=recovery.preconditioner))
    assert traced.scores is not None, "they were kept"
    scores = traced.scores - mean_products(opened, traced.row_ids) if recovery.centred else traced.scores
    by_id = {row.id: row for row in case.rows("train")}
    relevant = [is_poisoned(by_id[row_id].meta) for row_id in traced.row_ids]
    return {
        "auprc": average_precision(relevant, scores.mean(dim=0).tolist()),
        "auprc_one_answer": statistics.fmean(average_precision(relevant, own.tolist()) for own in scores),
        "queries": len(queries),
        "rows": len(relevant),
        "poisoned": sum(relevant),
        "seconds": round(time.monotonic() - started, 1),
    }


def mean_products(store: GradientStore, row_ids: Sequence[str]) -> torch.Tensor:
    """The product of each row's sketch with the mean of all sketches."""
    blocks = [row_ids[start : start + BLOCK] for start in range(0, len(row_ids), BLOCK)]
    mean = sum(store.read(own).float().sum(dim=0) for own in blocks) / len(row_ids)
    return torch.cat([store.read(own).float() @ mean for own in blocks])


def main() -> None:
    """Measure what is missing, part by part, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=["demo", "dolly_triggers"], default=["demo", "dolly_triggers"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recoveries", nargs="+", choices=[one.name for one in RECOVERIES], help="by default all")
    parser.add_argument("--smoke", action="store_true", help="a small case, and no real result")
    parser.add_argument("--model", help="another base")
    options = parser.parse_args()
    path = ROOT / ("runs/bench/final_adapter.smoke.json" if options.smoke else "benchmarks/results/final_adapter.json")
    result: dict[str, Any] = read_json(path, what="The results") if path.is_file() else {"runs": {}}
    result |= {"command": "python benchmarks/final_adapter.py", "environment": environment()}
    chosen = [one for one in RECOVERIES if not options.recoveries or one.name in options.recoveries]
    for name in options.cases:
        for seed in options.seeds:
            done = result["runs"].setdefault(name, {}).setdefault(str(seed), {})
            if all(one.name in done for one in chosen):
                continue
            plan = plan_of(name, seed, options)
            case, queries = prepare(plan, smoke=options.smoke)
            for one in chosen:
                if one.name not in done:
                    done[one.name] = measure(plan, case, queries, one)
                    print(f"{name}, seed {seed}, {one.name}: auPRC {done[one.name]['auprc']:.3f}", flush=True)
                    write_json(path, result)
    for name, seeds in result["runs"].items():
        for one in RECOVERIES:
            values = [own[one.name]["auprc"] for own in seeds.values() if one.name in own]
            if values:
                print(
                    f"{name}: {one.name}: {statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f}, {len(values)} seed(s))"
                )


if __name__ == "__main__":
    main()
