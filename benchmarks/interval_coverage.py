"""What the intervals that the package prints cover, by simulation.

    python benchmarks/interval_coverage.py        benchmarks/results/coverage.json

Data whose truth is known are drawn again and again, as often as 15 s allow, 10,000 times at most, and it is counted how often the interval holds it. The
cases are those of `tests/stats/coverage_cases.py`, which the tests run with fewer repetitions. `--only WORD` measures the cases with a word in their names, and
keeps the others' results.
"""

import argparse
import sys
import time
from typing import Any

import numpy as np

from result_files import RESULTS, ROOT, load
from unweave import progress
from unweave.files import write_json
from unweave.run.folder import environment

SECONDS, MOST, AT_ONCE = 15.0, 10_000, 100
PARTS = "intervals", "tests", "replaced"


def measure(case: Any) -> dict[str, Any]:
    """Repeat a case."""
    rng, hits, done, started = np.random.default_rng(0), 0, 0, time.monotonic()
    while done < MOST and (not done or time.monotonic() - started < SECONDS):
        hits += sum(case.draw(rng) for _ in range(AT_ONCE))
        done += AT_ONCE
    about = {key: getattr(case, key) for key in ("name", "method", "where", "size", "nominal", "bounds", "because")}
    return {**about, "covered": hits / done, "repetitions": done}


def main() -> None:
    """Repeat all cases, and write the result file."""
    sys.path.insert(0, str(ROOT))
    from tests.stats.coverage_cases import CASES, REPLACED, TESTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    earlier = load("coverage") if only else {}
    known = {own["name"]: own for part in PARTS for own in earlier.get(part, [])}
    result: dict[str, Any] = {"command": "python benchmarks/interval_coverage.py", "environment": environment()}
    for name, cases in zip(PARTS, (CASES, TESTS, REPLACED), strict=True):
        with progress.task(name, len(cases)) as advance:
            result[name] = []
            for case in cases:
                own = measure(case) if only in case.name else known[case.name]
                result[name].append(own)
                advance(1)
                print(f"{own['covered']:.3f} of {case.nominal} ({own['repetitions']:>6}) {case.name}")
    write_json(RESULTS / "coverage.json", result)


if __name__ == "__main__":
    main()
