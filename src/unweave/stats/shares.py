"""Intervals of what is counted: Wilson's for a share, Newcombe's for the paired difference of two and for an area under the ROC curve."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from unweave.stats.estimates import LEVEL, NOTHING, Estimate, normal_quantile


def are_flags(*columns: np.ndarray) -> bool:
    """Whether values are counted, not measured: all of them 0 or 1.

    Args:
        columns: One value a row each.

    Returns:
        Whether they are; not so without rows.
    """
    return all(len(own) > 0 and bool(np.isin(own, (0, 1)).all()) for own in columns)


def share(values: Sequence[float] | np.ndarray, *, level: float = LEVEL) -> Estimate:
    """A share of rows, with Wilson's score interval (Wilson 1927), which holds its level for few rows and for shares near 0 and 1.

    Args:
        values: 0 or 1 for each row.
        level: Of the interval.

    Returns:
        The estimate; NaN without rows.
    """
    if not len(values):
        return NOTHING
    successes, count = float(np.sum(values)), len(values)
    low, high = wilson(successes, count, level=level)
    return Estimate(successes / count, low, high, count)


def wilson(successes: float, count: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a share.

    Args:
        successes: How many.
        count: Of how many, at least 1.
        level: Of the interval.

    Returns:
        Its ends, within [0, 1] and around the observed share.
    """
    z = normal_quantile(level)
    observed = successes / count
    center = (observed + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(observed * (1 - observed) / count + z * z / (4 * count * count))
    return max(0.0, min(observed, center - half)), min(1.0, max(observed, center + half))


def auc_interval(area: float, positives: int, negatives: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Interval of an area under the ROC curve: method 5 of Newcombe (2006), which inverts the variance of Hanley and McNeil (1982).

    It keeps its level for small samples and for areas of 0 and 1, where bootstrap and Wald intervals have no width.

    Args:
        area: The observed area.
        positives: Rows of one kind.
        negatives: Rows of the other.
        level: Of the interval.

    Returns:
        Its ends; NaN where there are no rows of a kind.
    """
    if not positives or not negatives or math.isnan(area):
        return float("nan"), float("nan")
    z, balance = normal_quantile(level), (positives + negatives) / 2 - 1

    def excess(truth: float) -> float:
        spread = 1 + balance * (1 - truth) / (2 - truth) + balance * truth / (1 + truth)
        return abs(area - truth) - z * math.sqrt(truth * (1 - truth) / (positives * negatives) * spread)

    return _outermost(excess, area, 0.0), _outermost(excess, area, 1.0)


def _outermost(excess: Callable[[float], float], inside: float, end: float) -> float:
    """Where `excess` turns positive between a point at which it is not and an end of the range, by bisection."""
    outside = end
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if excess(middle) > 0 else (middle, outside)
    return (inside + outside) / 2


def newcombe_paired(one: np.ndarray, two: np.ndarray, *, level: float) -> tuple[float, float]:
    """Interval of the difference of two shares of the same rows: method 10 of Newcombe (1998), from Wilson's intervals and the correlation.

    Args:
        one: 0 or 1 a row.
        two: The same for the other model.
        level: Of the interval.

    Returns:
        The ends of second minus first.
    """
    count = len(one)
    both, only_two = float((one * two).sum()), float(((1 - one) * two).sum())
    only_one, neither = float((one * (1 - two)).sum()), float(((1 - one) * (1 - two)).sum())
    product = (both + only_two) * (only_one + neither) * (both + only_one) * (only_two + neither)
    correlation = 0.0
    if product > 0:
        excess = both * neither - only_two * only_one
        # The continuity correction of method 10 draws a positive correlation towards 0.
        correlation = (max(excess - count / 2, 0.0) if excess > 0 else excess) / math.sqrt(product)
    first, second = one.mean(), two.mean()
    first_low, first_high = wilson(one.sum(), count, level=level)
    second_low, second_high = wilson(two.sum(), count, level=level)

    def reach(up: float, down: float) -> float:
        return math.sqrt(max(0.0, up * up - 2 * correlation * up * down + down * down))

    difference = second - first
    return (
        float(max(-1.0, difference - reach(second - second_low, first_high - first))),
        float(min(1.0, difference + reach(second_high - second, first - first_low))),
    )
