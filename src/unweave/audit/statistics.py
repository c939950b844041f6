"""Intervals: the bootstrap over rows for means and ratios, Wilson's for shares, Student's over seeds, Newcombe's for areas under the ROC curve."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: The estimate.
        low: Lower end of the 95 % interval.
        high: Upper end.
        count: Rows it rests on.
    """

    value: float
    low: float
    high: float
    count: int

    def to_json(self) -> dict[str, float | int]:
        """As a JSON object."""
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}


def mean(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean over rows, with its bootstrap interval (Efron 1979, percentile method).

    A share that is 0 or 1 on all rows gets the exact one-sided bound of Clopper and Pearson at its open end, since resampling
    equal values would claim certainty.

    Args:
        values: One value a row.
        seed: Of the resampling.

    Returns:
        The estimate; NaN without rows.
    """
    return ratio(values, np.ones(len(values)), seed=seed)


def ratio(numerators: Sequence[float], denominators: Sequence[float] | np.ndarray, *, seed: int = 0) -> Estimate:
    """The sum of one value over the sum of another, resampling rows.

    Args:
        numerators: One value a row, such as a summed loss in nats.
        denominators: One value a row, such as a number of tokens.
        seed: Of the resampling.

    Returns:
        The estimate; NaN without rows.
    """
    top, bottom = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if not len(top):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    value = float(top.sum() / bottom.sum())
    picks = _resamples(len(top), seed)
    draws = top[picks].sum(axis=1) / bottom[picks].sum(axis=1)
    low, high = _percentiles(draws)
    if set(top.tolist()) in ({0.0}, {1.0}) and set(bottom.tolist()) == {1.0}:
        bound = 1 - ((1 - LEVEL) / 2) ** (1 / len(top))
        low, high = (0.0, bound) if value == 0.0 else (1 - bound, 1.0)
    return Estimate(value, low, high, len(top))


def share(values: Sequence[float], *, level: float = LEVEL) -> Estimate:
    """A share of rows, with Wilson's score interval (Wilson 1927), which holds its level for few rows and for shares near 0 and 1.

    Args:
        values: 0 or 1 for each row.
        level: Of the interval.

    Returns:
        The estimate; NaN without rows.
    """
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
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


def across_seeds(values: Sequence[float], *, level: float = LEVEL) -> Estimate:
    """The mean over independent runs, with Student's interval.

    Args:
        values: One value a seed.
        level: Of the interval.

    Returns:
        The estimate; an interval of NaN for a single seed, which tells nothing of the spread.
    """
    if len(values) < 2:
        value = float(values[0]) if len(values) else float("nan")
        return Estimate(value, float("nan"), float("nan"), len(values))
    from scipy.stats import t

    center, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(t.ppf((1 + level) / 2, len(values) - 1)) * error
    return Estimate(center, center - half, center + half, len(values))


def normal_quantile(level: float) -> float:
    """How many standard deviations a two-sided interval of a normal variable reaches.

    Args:
        level: Of the interval.

    Returns:
        1.96 for 0.95.
    """
    return NormalDist().inv_cdf((1 + level) / 2)


def paired_difference(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean of after minus before over the same rows, resampling rows.

    Args:
        before: One value a row.
        after: One value a row, in the same order.
        seed: Of the resampling.

    Returns:
        The estimate.

    Raises:
        ValueError: When the two have different lengths.
    """
    if len(before) != len(after):
        raise ValueError(f"paired values need equal lengths, got {len(before)} and {len(after)}")
    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    if not len(differences):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    low, high = _percentiles(differences[_resamples(len(differences), seed)].mean(axis=1))
    return Estimate(float(differences.mean()), low, high, len(differences))


def paired_relative_perplexity(
    before: Sequence[float], after: Sequence[float], tokens: Sequence[int], *, seed: int = 0
) -> Estimate:
    """Perplexity after over perplexity before, minus 1, resampling rows.

    Args:
        before: Summed loss of each row in nats.
        after: The same for the other model.
        tokens: Tokens of each row.
        seed: Of the resampling.

    Returns:
        The relative change; 0.03 is 3 % worse.
    """
    change = ratio(np.asarray(after, dtype=float) - np.asarray(before, dtype=float), tokens, seed=seed)  # type: ignore[arg-type]
    value, low, high = (float(np.expm1(end)) for end in (change.value, change.low, change.high))
    return Estimate(value, low, high, change.count)


def rank_correlation(scores: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's correlation.

    Args:
        scores: Predictions; constant ones say nothing.
        truth: What is predicted.

    Returns:
        In [-1, 1]; 0 where one of the two is constant.
    """
    from scipy.stats import spearmanr

    return float(spearmanr(scores, truth)[0]) if np.ptp(scores) and np.ptp(truth) else 0.0  # type: ignore[arg-type]


def rank_correlations(predicted: np.ndarray, target: np.ndarray) -> list[float]:
    """Spearman's correlation of each column.

    Args:
        predicted: A column a query or task.
        target: The same.

    Returns:
        One a column.
    """
    return [rank_correlation(own, other) for own, other in zip(predicted.T, target.T, strict=True)]


def _resamples(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, size, (RESAMPLES, size))


def _percentiles(draws: np.ndarray) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2 * 100
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)
