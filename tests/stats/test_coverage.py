"""What each interval that the package prints covers, by simulation: 0.92 to 0.97 of a nominal 0.95, or what the table of docs/statistics.md says."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.stats.coverage_cases import CASES, REPLACED, TESTS, Case

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "coverage.json"


@pytest.mark.parametrize("case", [case for case in (*CASES, *TESTS) if case.repetitions], ids=lambda case: case.name)
def test_covers_what_it_says(case: Case):
    rng = np.random.default_rng(20)
    covered = float(np.mean([case.draw(rng) for _ in range(case.repetitions)]))
    least, most = case.bounds
    # Two standard errors of the simulation itself: the table has many more repetitions, and no slack.
    slack = 2 * (0.05 * 0.95 / case.repetitions) ** 0.5
    assert least - slack <= covered <= most + slack, f"{case.name}: {covered:.3f}"


def test_the_table_has_every_case_within_its_bounds():
    parts = json.loads(RESULT.read_text())
    table = {entry["name"]: entry for part in ("intervals", "tests", "replaced") for entry in parts[part]}
    assert list(table) == [case.name for case in (*CASES, *TESTS, *REPLACED)]
    for case in (*CASES, *TESTS, *REPLACED):
        assert case.bounds[0] <= table[case.name]["covered"] <= case.bounds[1], case.name
    for case in (*CASES, *TESTS):
        assert case.bounds == (0.92, 0.97) or case.because or case in TESTS, (
            f"{case.name}: the table says what it covers"
        )
