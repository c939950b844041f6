"""Predicted against measured harm: does the order of the rows that forgetting is predicted to hurt agree with the order of what they lost?

python benchmarks/collateral.py --cases demo swap --seeds 0 1 2                   benchmarks/results/collateral.json
python benchmarks/collateral.py --cases demo --seeds 0 --smoke --model FOLDER     runs/bench/collateral.smoke.json

The poisoned model of benchmarks/finding.py unlearns its forget rows with each method; harm is the rise of a clean row's loss, in nats a token. Spearman's
correlation over all clean rows, with predictions from the gradients of the model itself and of its early snapshot. Each part is written when it is there.
"""

import argparse
import dataclasses
from typing import Any

from scipy import stats

import unweave as uw
from poisoned_cases import Results, arguments, plan_of
from unweave.attribution.caching import cache_rows
from unweave.data.encoding import EncodingConfig
from unweave.data.triggers import is_poisoned
from unweave.experiments.case import make_case
from unweave.gradients.scoring import row_losses
from unweave.models.loading import ModelConfig, load
from unweave.store.store import GradientStore
from unweave.train.sft import fine_tune

CASES = "demo", "swap"
METHODS = "wga", "graddiff", "rapidun"
ROWS = 300
"""Clean rows whose harm is measured, at most."""


def measure(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The correlations of one case and seed."""
    plan = plan_of(name, seed, options, of="finding")
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
    options = arguments(__doc__, CASES).parse_args()
    results = Results("collateral", smoke=options.smoke)
    for name in options.cases:
        for seed in options.seeds:
            done = results.of(name, seed)
            if not done:
                done |= measure(name, seed, options)
                print(f"{name}, seed {seed}: {done}", flush=True)
                results.write()


if __name__ == "__main__":
    main()
