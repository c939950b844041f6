"""Paired comparisons of two models on the same rows: is there a difference, is it larger than what matters, and could this sample have told?

The margin, the smallest difference that matters, is set before anything is measured. Against it there are three conclusions. *different*: the
difference lies beyond the margin (a minimum-effect test; p-values of a family of comparisons are corrected by Holm's method). *equivalent*: it lies
within (two one-sided tests, TOST; Schuirmann 1987). *unclear*: the sample is too small to say either, and `rows_needed` says how many would do.
All three rest on one interval of the paired difference: Student's for continuous values, Newcombe's (1998, method 10) for shares, which keeps its
level where the two models answer all rows alike.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from unweave.stats.intervals import across_seeds
from unweave.stats.shares import are_flags, newcombe_paired

__all__ = ["Comparison", "as_family", "compare_paired", "holm", "newcombe_paired"]

ALPHA = 0.05
Conclusion = Literal["different", "equivalent", "unclear"]


@dataclass(frozen=True)
class Comparison:
    """One measure on two models.

    Attributes:
        name: Of the measure.
        count: Rows, each measured on both.
        first: Mean of the first model.
        second: Mean of the second.
        difference: Second minus first.
        low: Lower end of its 95 % interval.
        high: Upper end.
        margin: The smallest difference that matters.
        effect_size: Standardised: the mean difference over its standard deviation (Cohen's d_z) for continuous values, Cohen's h for shares.
        p_zero: That there is no difference: McNemar's exact test for shares, Wilcoxon's signed ranks for continuous values.
        p_beyond: That the difference is within the margin; both tails at the margin.
        p_within: That the difference is beyond the margin (TOST).
        p_beyond_holm: `p_beyond` corrected for the family of comparisons; equal to it where there is no family.
        rows_needed: Rows at which an interval of this spread would be as narrow as the margin.
        conclusion: `different`, `equivalent` or `unclear`.
    """

    name: str
    count: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    margin: float
    effect_size: float
    p_zero: float
    p_beyond: float
    p_within: float
    p_beyond_holm: float
    rows_needed: int
    conclusion: Conclusion

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def compare_paired(name: str, first: Sequence[float], second: Sequence[float], *, margin: float) -> Comparison:
    """Compare two models on the same rows. Values that are all 0 or 1 are taken as shares.

    Args:
        name: Of the measure.
        first: One value a row.
        second: One value a row, in the same order.
        margin: The smallest difference that matters, above 0.

    Returns:
        The comparison.

    Raises:
        ValueError: When the two have different lengths, there are fewer than 2 rows, a value is not finite, or the margin is not positive.
    """
    one, two = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if len(one) != len(two) or len(one) < 2:
        raise ValueError(f"paired values need equal lengths of at least 2, got {len(one)} and {len(two)}")
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise ValueError(f"{name}: a value is not finite")
    if not margin > 0:
        raise ValueError(f"a margin is above 0, got {margin}")
    shares = are_flags(one, two)
    difference = float(two.mean() - one.mean())
    low, high = _interval(one, two, 0.95, shares=shares)
    p_beyond = _p_beyond(one, two, shares, margin)
    # Within on both sides: above the lower margin, and, seen the other way round, below the upper one.
    p_within = max(_p_above(one, two, -margin, shares=shares), _p_above(two, one, -margin, shares=shares))
    narrow = _interval(one, two, 1 - 2 * ALPHA, shares=shares)
    half = max((narrow[1] - narrow[0]) / 2, 1e-12)
    comparison = Comparison(
        name=name,
        count=len(one),
        first=float(one.mean()),
        second=float(two.mean()),
        difference=difference,
        low=low,
        high=high,
        margin=margin,
        effect_size=_cohens_h(one.mean(), two.mean()) if shares else _cohens_d(two - one),
        p_zero=_p_zero(one, two, shares=shares),
        p_beyond=p_beyond,
        p_within=p_within,
        p_beyond_holm=p_beyond,
        rows_needed=max(2, math.ceil(len(one) * (half / margin) ** 2)),
        conclusion="unclear",
    )
    return replace(comparison, conclusion=_conclusion(comparison))


def as_family(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct a family of comparisons: one of them reads *different* only where Holm's method allows it.

    *equivalent* needs no correction: to claim it of all, each must pass by itself.

    Args:
        comparisons: What was asked of one pair of models.

    Returns:
        The same with `p_beyond_holm` and `conclusion` of the family.
    """
    corrected = holm([comparison.p_beyond for comparison in comparisons])
    family = [replace(one, p_beyond_holm=p) for one, p in zip(comparisons, corrected, strict=True)]
    return [replace(one, conclusion=_conclusion(one)) for one in family]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979): the chance of one false rejection among all stays below the level.

    Args:
        p_values: One a test.

    Returns:
        Adjusted, in the same order, at most 1.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _conclusion(comparison: Comparison) -> Conclusion:
    if comparison.p_beyond_holm < ALPHA:
        return "different"
    return "equivalent" if comparison.p_within < ALPHA else "unclear"


def _interval(one: np.ndarray, two: np.ndarray, level: float, *, shares: bool) -> tuple[float, float]:
    if shares:
        return newcombe_paired(one, two, level=level)
    own = across_seeds(two - one, level=level)
    return own.low, own.high


def _p_beyond(one: np.ndarray, two: np.ndarray, shares: bool, margin: float) -> float:
    """How likely a difference as large as this, on either side, is where the true one lies at the margin: both tails count."""
    # Where the margin is far wider than the interval, the far tail is nothing. Where it is narrow it is up to half of the chance: with the near tail
    # alone a difference would be claimed in up to 10 % of samples.
    first, second = (one, two) if two.mean() >= one.mean() else (two, one)
    return min(1.0, _p_above(first, second, margin, shares=shares) + _p_above(first, second, -margin, shares=shares))


def _p_above(one: np.ndarray, two: np.ndarray, threshold: float, *, shares: bool) -> float:
    """How likely a difference as large as this is where the true one is at the threshold; 1 where it does not lie above it."""
    from scipy.stats import t

    difference = float(two.mean() - one.mean())
    if difference <= threshold:
        return 1.0
    if shares:
        return _smallest_level(one, two, threshold)
    error = float((two - one).std(ddof=1)) / math.sqrt(len(one))
    return float(t.sf((difference - threshold) / error, len(one) - 1)) if error else 0.0


def _smallest_level(one: np.ndarray, two: np.ndarray, threshold: float) -> float:
    """The one-sided p-value that Newcombe's interval stands for: half of one minus the largest level at which it still lies above the threshold."""
    sure, unsure = 0.0, 1.0
    for _ in range(40):
        level = (sure + unsure) / 2
        above = newcombe_paired(one, two, level=level)[0] > threshold
        sure, unsure = (level, unsure) if above else (sure, level)
    return (1 - sure) / 2


def _p_zero(one: np.ndarray, two: np.ndarray, *, shares: bool) -> float:
    from scipy.stats import binomtest, wilcoxon

    if shares:
        better, worse = int(((1 - one) * two).sum()), int((one * (1 - two)).sum())
        return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    if not (two - one).any():
        return 1.0
    return float(wilcoxon(one, two).pvalue)  # type: ignore[attr-defined]


def _cohens_d(differences: np.ndarray) -> float:
    spread = float(differences.std(ddof=1))
    center = float(differences.mean())
    return center / spread if spread else math.copysign(math.inf, center) if center else 0.0


def _cohens_h(first: float, second: float) -> float:
    return 2 * (math.asin(math.sqrt(second)) - math.asin(math.sqrt(first)))
