"""How often the test of gaps says that rows stand out: of scores without a cause, and of planted rows.

    python benchmarks/stand_out.py        benchmarks/results/stand_out.json

Scores of 1,000 and of 20,000 rows are drawn from a normal distribution and from Student's t with 5 and 3 degrees of freedom; rows are planted in normal ones,
at so many standard deviations. Each case is drawn 2,000 times, with Wilson's intervals.
"""

import argparse
from typing import Any

import numpy as np
import torch

from result_files import RESULTS
from unweave import progress
from unweave.attribution.scale import make_scale
from unweave.files import write_json
from unweave.run.folder import environment
from unweave.stats.shares import wilson

DRAWS = 2_000
ROWS = 1_000, 20_000
TAILS = {"normal": None, "t with 5": 5, "t with 3": 3}
PLANTED = {
    "three rows 8 out": [8.0, 8.5, 9.0],
    "one row 8 out": [8.0],
    "one row 12 out": [12.0],
    "one row 20 out": [20.0],
}


def share(rows: int, degrees: int | None, planted: list[float], *, seed: int) -> dict[str, Any]:
    """How often rows stand out of draws."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(DRAWS):
        scores = rng.standard_normal(rows) if degrees is None else rng.standard_t(degrees, rows)
        scores[: len(planted)] = planted
        found += make_scale(rows, [], torch.tensor(scores), {}).stands_out() is True
    low, high = wilson(found, DRAWS)
    return {"share": found / DRAWS, "low": low, "high": high}


def main() -> None:
    """Draw all cases, and write the result file."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "command": "python benchmarks/stand_out.py", "environment": environment(), "draws": DRAWS, "seed": 0, "false_alarms": {}, "found": {},
    }  # fmt: skip
    cases = [("false_alarms", name, degrees, []) for name, degrees in TAILS.items()]
    cases += [("found", name, None, planted) for name, planted in PLANTED.items()]
    with progress.task("cases", len(ROWS) * len(cases)) as advance:
        for rows in ROWS:
            for part, name, degrees, planted in cases:
                own = share(rows, degrees, planted, seed=0)
                result[part].setdefault(str(rows), {})[name] = own
                write_json(RESULTS / "stand_out.json", result)
                print(f"{rows:>6} {name}: {own['share']:.2%} [{own['low']:.2%}, {own['high']:.2%}]", flush=True)
                advance(1)


if __name__ == "__main__":
    main()
