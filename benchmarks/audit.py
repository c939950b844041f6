"""Does the audit tell right from wrong? The demo's models, one that was over-unlearned, and models trained with another seed.

    python benchmarks/demo.py --seeds 0          (makes the demo's models, under runs/bench)
    python benchmarks/audit.py --seeds 0         benchmarks/results/audit.json

For each seed of the demo: *over* is the poisoned model after sixty steps of gradient ascent on the forget rows without a retain part (`--method ga`); *other
seed* models are the poisoned and the retrained one, trained again on the same rows with another seed. Three audits: the demo's own with all its attacks
(its wall time is reported), the same models with `over` ranked beside them, and for each pair of seeds an audit in which one stands in for the
retrained model and the other for the unlearned one: nothing should differ.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import torch

from unweave.data.case import Case, open_case
from unweave.data.encoding import EncodingConfig
from unweave.evaluation.config import AuditConfig
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.files import write_json
from unweave.jobs.audit import audit_models
from unweave.jobs.forget import forget_rows
from unweave.run.folder import environment
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of

OVER_EPOCHS, OVER_RATE = 5.0, 3e-4


def models(plan: StagePlan, case: Case) -> dict[str, Path]:
    """The over-unlearned model, and the two trained with another seed; what is there already is not made again."""
    folder = plan.folder / "audited"
    over = config_of("ga")(
        **plan.trained_model("poisoned"),
        **plan.shared(EncodingConfig),
        forget=case.path("forget"),
        retain=case.path("retain"),
        output_dir=folder / "over",
        adapter_mode="continue",
        epochs=OVER_EPOCHS,
        batch_size=8,
        learning_rate=OVER_RATE,
        stop_loss=1e9,
        seed=plan.config.seed,
    )
    forget_rows(over)
    other = {"seed": plan.config.seed + 100, "snapshots": ()}
    poisoned = dataclasses.replace(plan.train(case), output_dir=folder / "poisoned-other-seed", **other)
    retrained = dataclasses.replace(
        plan.train(case, without_forget=True), output_dir=folder / "retrained-other-seed", **other
    )
    fine_tune(poisoned)
    fine_tune(retrained)
    return {"over": over.output_dir, "poisoned": poisoned.output_dir, "retrained": retrained.output_dir}


def audit(plan: StagePlan, case: Case, name: str, **changes: Any) -> dict[str, Any]:
    """One audit, and its wall time."""
    config = AuditConfig(
        **plan.shared(EncodingConfig),
        case=case.folder,
        output_dir=plan.folder / "audited" / f"audit-{name}",
        **({"max_new_tokens": plan.config.max_new_tokens} | changes),
    )
    started = time.monotonic()
    metrics = audit_models(config)
    wall = time.monotonic() - started
    verdicts = {
        label: {key: verdict[key] for key in ("conclusion", "reasons", "warnings", "distance", "privleak")}
        | {"conclusions": {one["name"]: one["conclusion"] for one in verdict["comparisons"]}}
        for label, verdict in metrics["verdicts"].items()
    }
    return {
        "wall_seconds": wall,
        "seconds": metrics["seconds"],
        "ranking": metrics["ranking"],
        "verdicts": verdicts,
        "membership": metrics["membership"],
        "attacks": metrics["attacks"],
    }


def one(seed: int) -> dict[str, Any]:
    """All audits of one seed of the demo."""
    folder = Path("runs/bench") / f"demo-{seed}"
    plan = StagePlan(DemoConfig(seed=seed, case_seed=seed * 10, output_dir=folder), folder)
    case = open_case(folder / "case")
    made = models(plan, case)
    before, after, retrained = (str(folder / name) for name in ("poisoned", "unlearned", "retrained"))
    found = {
        "demo": audit(plan, case, "demo", before=before, after=after, retrained=retrained),
        "with over-unlearned": audit(
            plan, case, "over", before=before, after=after, retrained=retrained, others=(str(made["over"]),), attacks=()
        ),
        "retrained, two seeds": audit(
            plan, case, "seeds-retrained", before=before, after=str(made["retrained"]), retrained=retrained, attacks=()
        ),
        "poisoned, two seeds": audit(
            plan, case, "seeds-poisoned", before=before, after=str(made["poisoned"]), retrained=before, attacks=()
        ),
    }
    for name, result in found.items():
        print(seed, name, f"{result['wall_seconds']:.0f} s", result["ranking"])
        for label, verdict in result["verdicts"].items():
            print("   ", label, "->", verdict["conclusion"])
    return found


def main() -> None:
    """Run all seeds, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    seeds = parser.parse_args().seeds
    torch.set_num_threads(2)
    runs = {str(seed): one(seed) for seed in seeds}
    path = Path(__file__).parent / "results" / "audit.json"
    command = f"python benchmarks/audit.py --seeds {' '.join(map(str, seeds))}"
    write_json(path, {"command": command, "environment": environment(), "seeds": seeds, "runs": runs})
    print(f"written: {path}")


if __name__ == "__main__":
    main()
