"""Tracing with only the final adapter: how well each recovery finds the poisoned rows, beside an early snapshot of the training itself.

    python benchmarks/final_adapter.py --cases demo dolly_triggers --seeds 0 1 2      benchmarks/results/final_adapter.json
    python benchmarks/final_adapter.py --cases demo --seeds 0 --smoke --model TINY    a check of the script; writes runs/bench/final_adapter.smoke.json

A model is poisoned as in the demo (as in examples/dolly_triggers.yaml for dolly_triggers, which needs the folders named there), and keeps one adapter at
6 % of its training. The same unwanted answers of the final model are traced to all training rows with: that snapshot; the final adapter; the final adapter
with its update scaled; an adapter retrained from the base on a sample of the rows; and of these centred (the mean sketch of all rows taken off the query's)
or with a preconditioner (on gradients that are not normalised). auPRC of the mean score over the answers, and of one answer (mean). Every part is
written as it ends, and what the file has is not measured again.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from poisoned_cases import Results, arguments, plan_of
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import CachingConfig, RetrievalConfig
from unweave.attribution.model import store_model
from unweave.attribution.tracing import trace_rows
from unweave.data.case import Case
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.data.triggers import is_poisoned
from unweave.evaluation.tracing import bad_generations
from unweave.experiments.case import make_case
from unweave.experiments.demo.plan import StagePlan
from unweave.jobs.audit_case import stored_behaviour
from unweave.jobs.config import TraceConfig
from unweave.models.loading import ModelConfig, load
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


CASES = "demo", "dolly_triggers"

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
    parser = arguments(__doc__, CASES)
    parser.add_argument("--recoveries", nargs="+", choices=[one.name for one in RECOVERIES], help="by default all")
    options = parser.parse_args()
    results = Results("final_adapter", smoke=options.smoke)
    chosen = [one for one in RECOVERIES if not options.recoveries or one.name in options.recoveries]
    for name in options.cases:
        for seed in options.seeds:
            done = results.of(name, seed)
            if all(one.name in done for one in chosen):
                continue
            plan = plan_of(name, seed, options, of="final-adapter")
            case, queries = prepare(plan, smoke=options.smoke)
            for one in chosen:
                if one.name not in done:
                    done[one.name] = measure(plan, case, queries, one)
                    print(f"{name}, seed {seed}, {one.name}: auPRC {done[one.name]['auprc']:.3f}", flush=True)
                    results.write()
    for name, seeds in results.runs.items():
        for one in RECOVERIES:
            values = [own[one.name]["auprc"] for own in seeds.values() if one.name in own]
            if values:
                print(
                    f"{name}: {one.name}: {statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f}, {len(values)} seed(s))"
                )


if __name__ == "__main__":
    main()
