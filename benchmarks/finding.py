"""Finding the rest: with some of the poisoned rows at hand, how many of the others are proposed, and how many of the proposals are poisoned.

python benchmarks/finding.py --cases demo swap dolly_triggers --seeds 0 1 2      benchmarks/results/finding.json
python benchmarks/finding.py --cases demo --seeds 0 --smoke --model FOLDER       runs/bench/finding.smoke.json

A model is poisoned as in the demo (or as in examples/dolly_triggers.yaml), and its early snapshot gives the gradients. `uw.find_rest` is given 5, 10
or 40 of the poisoned rows, sampled by seed. BM25, sentence embeddings and MinHash rank the rows by their best score over the given ones, cut where
`find_rest` stops proposing: as many rows, so that precision and recall compare. Each part is written when it is there.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import unweave as uw
from poisoned_cases import Results, arguments, plan_of
from unweave.attribution.baselines import bm25_scores
from unweave.attribution.caching import cache_rows
from unweave.data.case import Case
from unweave.data.copies import row_text, shingles
from unweave.data.rows import Row
from unweave.data.triggers import is_poisoned
from unweave.experiments.case import make_case
from unweave.experiments.demo.plan import StagePlan
from unweave.models.encoder import load_encoder
from unweave.models.loading import load
from unweave.store.store import GradientStore
from unweave.train.sft import fine_tune

CASES = "demo", "swap", "dolly_triggers"
GIVEN = 5, 10, 40
PERMUTATIONS = 256


def prepare(plan: StagePlan) -> tuple[Case, uw.GradientIndex]:
    """The case, and the index of the poisoned model's snapshot; what is there already is not made again."""
    case = make_case(plan.case(), plan.folder / "case")
    fine_tune(plan.train(case))
    caching = plan.cache(case.path("train"))
    loaded = load(caching)
    cache_rows(caching, loaded=loaded)
    return case, uw.GradientIndex(GradientStore.open(caching.store), loaded)


def bm25(given: Sequence[Row], rows: Sequence[Row]) -> np.ndarray:
    """The best score over the given rows."""
    texts = [row_text(row) for row in rows]
    return np.max([bm25_scores(row_text(row), texts) for row in given], axis=0)


def embeddings(given: Sequence[Row], rows: Sequence[Row]) -> np.ndarray:
    """The largest cosine of sentence embeddings."""
    encoder = load_encoder("minilm")
    own, all_rows = (encoder.encode([row_text(row) for row in side]) for side in (given, rows))
    return (all_rows @ own.T).max(dim=1).values.numpy()


def minhash(given: Sequence[Row], rows: Sequence[Row]) -> np.ndarray:
    """The largest similarity of MinHash signatures of five-letter shingles."""
    from datasketch import MinHash

    def signature(row: Row) -> np.ndarray:
        made = MinHash(num_perm=PERMUTATIONS, seed=1)
        made.update_batch([shingle.encode() for shingle in sorted(shingles(row_text(row)))])
        return made.hashvalues

    own = [signature(row) for row in given]
    return np.array([max(float((signature(row) == other).mean()) for other in own) for row in rows])


BASELINES: dict[str, Callable[[Sequence[Row], Sequence[Row]], np.ndarray]] = {
    "bm25": bm25,
    "embeddings": embeddings,
    "minhash": minhash,
}


def judged(chosen: set[str], hidden: set[str]) -> dict[str, float]:
    """Recall and precision of proposals."""
    right = len(chosen & hidden)
    return {"proposed": len(chosen), "recall": right / len(hidden), "precision": right / len(chosen) if chosen else 1.0}


def measure(index: uw.GradientIndex, count: int, seed: int) -> dict[str, Any]:
    """What each way of looking proposes from so many of the poisoned rows."""
    rows = index.rows
    poisoned = sorted(row.id for row in rows if is_poisoned(row.meta))
    given = random.Random(f"{seed}:{count}").sample(poisoned, min(count, len(poisoned) // 2))
    hidden = set(poisoned) - set(given)
    started = time.monotonic()
    found = uw.find_rest(index, given, seed=seed)
    chosen = {one.row.id for one in found}
    result: dict[str, Any] = {
        "given": len(given),
        "hidden": len(hidden),
        "find_rest": {**judged(chosen, hidden), "seconds": round(time.monotonic() - started, 1)},
        "weights": dict(found.weights),
        "missed": {**found.missed.__dict__, "truth": len(hidden - chosen)},
    }
    by_id = {row.id: row for row in rows}
    others = [row for row in rows if row.id not in given]
    for name, score in BASELINES.items():
        scores = score([by_id[row_id] for row_id in given], others)
        best = np.argsort(-scores, kind="stable")[: len(chosen)]
        result[name] = judged({others[place].id for place in best}, hidden)
    return result


def main() -> None:
    """Measure what is missing, part by part, and write the result file."""
    options = arguments(__doc__, CASES).parse_args()
    results = Results("finding", smoke=options.smoke)
    for name in options.cases:
        for seed in options.seeds:
            done = results.of(name, seed)
            if all(str(count) in done for count in GIVEN):
                continue
            _, index = prepare(plan_of(name, seed, options, of="finding"))
            for count in GIVEN:
                if str(count) not in done:
                    own = done[str(count)] = measure(index, count, seed)
                    shown = ", ".join(
                        f"{way} recall {own[way]['recall']:.2f} precision {own[way]['precision']:.2f}"
                        for way in ("find_rest", *BASELINES)
                    )
                    print(f"{name}, seed {seed}, {own['given']} given: {shown}", flush=True)
                    results.write()


if __name__ == "__main__":
    main()
