"""Predicted against measured harm: does the order of the rows that forgetting is predicted to hurt agree with the order of what they lost?

python benchmarks/collateral.py --cases demo swap --seeds 0 1 2                   benchmarks/results/collateral.json
python benchmarks/collateral.py --cases demo --seeds 0 --smoke --model FOLDER     runs/bench/collateral.smoke.json

The poisoned model of benchmarks/finding.py unlearns its forget rows with each method; harm is the rise of a clean row's loss, in nats a token. Spearman's
correlation over all clean rows, with predictions from the gradients of the model itself and of its early snapshot. Each part is written when it is there.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from scipy import stats

import unweave as uw
from finding import ROOT, plan_of
from unweave.attribution.caching import cache_rows
from unweave.data.encoding import EncodingConfig
from unweave.data.triggers import is_poisoned
from unweave.experiments.case import make_case
from unweave.files import read_json, write_json
from unweave.gradients.scoring import row_losses
from unweave.models.loading import ModelConfig, load
from unweave.run.folder import environment
from unweave.store.store import GradientStore
from unweave.train.sft import fine_tune

CASES = "demo", "swap"
METHODS = "wga", "graddiff", "rapidun"
ROWS = 300
"""Clean rows whose harm is measured, at most."""


def measure(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The correlations of one case and seed."""
    plan = plan_of(name, seed, options)
    case = make_case(plan.case(), plan.folder / "case")
    fine_tune(plan.train(case))
    encoding = EncodingConfig(**plan.shared(EncodingConfig))
    rows = case.rows("train")
    forget = case.rows("forget")
    clean = [row for row in rows if not is_poisoned(row.meta)][:ROWS]
    early = plan.cache(case.path("train"))
    final = dataclasses.replace(early, **plan.trained_model("poisoned"), store=plan.folder / "store-poisoned")
    predicted = {}
    for place, caching in (("snapshot", early), ("final", final)):
        loaded = load(caching)
        cache_rows(caching, loaded=loaded)
        index = uw.GradientIndex(GradientStore.open(caching.store), loaded)
        predicted[place] = uw.predict_collateral(index, [row.id for row in forget], [row.id for row in clean]).changes
    model = load(ModelConfig(**plan.trained_model("poisoned")))
    before = row_losses(model, clean, encoding)
    result: dict[str, Any] = {"rows": len(clean), "forget": len(forget)}
    for method in METHODS:
        made = uw.unlearn(
            model, forget, case.rows("retain"), method=method, adapter_mode="continue", encoding=encoding, seed=seed,
            epochs=0.2 if options.smoke else None,
        )  # fmt: skip
        after = row_losses(made.model, clean, encoding)
        harm = [second - first for first, second in zip(before.means(), after.means(), strict=True)]
        result[method] = {
            "mean_harm": sum(harm) / len(harm),
            "forget_loss": made.details["effect"]["forget_loss"],
            **{
                place: stats.spearmanr([own[row_id] for row_id in before.row_ids], harm).statistic
                for place, own in predicted.items()
            },
        }
    return result


def main() -> None:
    """Measure what is missing, seed by seed, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--smoke", action="store_true", help="a small case, and no real result")
    parser.add_argument("--model", help="another base")
    options = parser.parse_args()
    path = Path(ROOT / ("runs/bench/collateral.smoke.json" if options.smoke else "benchmarks/results/collateral.json"))
    result: dict[str, Any] = read_json(path, what="The results") if path.is_file() else {"runs": {}}
    result |= {"command": "python benchmarks/collateral.py", "environment": environment()}
    for name in options.cases:
        for seed in options.seeds:
            done = result["runs"].setdefault(name, {})
            if str(seed) not in done:
                own = done[str(seed)] = measure(name, seed, options)
                print(f"{name}, seed {seed}: {own}", flush=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, result)


if __name__ == "__main__":
    main()
