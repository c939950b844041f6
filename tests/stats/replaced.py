"""Intervals that the package had before, on the data of `coverages.py`: why it has others now."""

from collections.abc import Callable

import numpy as np
from scipy.stats import t

from tests.stats.coverages import AREAS, RELEVANT, Rng, area_truth, lds_truth, losses, retrained, tables
from unweave.stats.intervals import rank_correlations


def _holds(draws: np.ndarray, truth: float) -> bool:
    low, high = np.percentile(draws, [2.5, 97.5])
    return bool(low <= truth <= high)


def percentiles_of_rows(count: int) -> Callable[[Rng], bool]:
    """Plain percentiles of the means of resampled rows."""

    def draw(rng: Rng) -> bool:
        values = losses(rng, count)
        return _holds(values[rng.integers(0, count, (2000, count))].mean(axis=1), 1.0)

    return draw


def percentiles_of_answers(kind: str, queries: int) -> Callable[[Rng], bool]:
    """Percentiles of the areas of resampled answers, which repeat."""

    def draw(rng: Rng) -> bool:
        table = tables(rng, queries)
        picks = rng.integers(0, queries, (300, queries))
        return _holds(
            np.array([AREAS[kind](RELEVANT, table[pick].mean(axis=0)) for pick in picks]), area_truth(kind, queries)
        )

    return draw


def queries_alone(models: int, queries: int) -> Callable[[Rng], bool]:
    """The LDS's percentiles over resampled queries, as if each had models of its own."""

    def draw(rng: Rng) -> bool:
        own = np.array(rank_correlations(*retrained(rng, models, queries)))
        return _holds(own[rng.integers(0, queries, (2000, queries))].mean(axis=1), lds_truth(models, queries))

    return draw


def near_tail_alone(count: int, margin: float) -> Callable[[Rng], bool]:
    """Whether *different* is rightly not claimed by the tail at the nearer margin; the true difference is the margin, in standard errors."""
    beyond = margin / count**0.5

    def draw(rng: Rng) -> bool:
        differences = rng.normal(beyond, 1, count)
        error = differences.std(ddof=1) / count**0.5
        return bool(t.sf((abs(differences.mean()) - beyond) / error, count - 1) >= 0.05)

    return draw
