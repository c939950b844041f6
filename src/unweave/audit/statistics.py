"""Intervals for means and ratios, by the bootstrap over rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: The estimate.
        low: Lower end of the 95 % percentile bootstrap interval.
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


def _resamples(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, size, (RESAMPLES, size))


def _percentiles(draws: np.ndarray) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2 * 100
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)
