"""Intervals, each with the coverage that `benchmarks/interval_coverage.py` measures: docs/statistics.md has the table.

Means and ratios: Student's below 20 rows, from there the bootstrap over rows, widened as Student's is (Hesterberg 2015). Shares: Wilson's; their paired
differences: Newcombe's method 10. Areas under the ROC curve between two sets of rows: Newcombe's method 5. Statistics of a mean over queries: the
jackknife. Means over two crossed samples, such as queries and retrained models: two-way random effects. Means over seeds: Student's.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from unweave.stats.estimates import LEVEL, NOTHING, Estimate, student_quantile
from unweave.stats.shares import are_flags, auc_interval, newcombe_paired, share, wilson

__all__ = [
    "Estimate", "across_seeds", "auc_interval", "crossed", "jackknife", "mean", "newcombe_paired", "paired_difference",
    "paired_relative_perplexity", "rank_correlation", "rank_correlations", "ratio", "share", "wilson",
]  # fmt: skip

RESAMPLES = 2000
FEW = 20
"""Below so many rows the percentile bootstrap is too narrow (it covers 0.77 at 4 and 0.87 at 8 of a nominal 0.95): Student's interval is used."""


def mean(values: Sequence[float] | np.ndarray, *, seed: int = 0) -> Estimate:
    """The mean over rows: Wilson's interval where all values are 0 or 1, else as `ratio`.

    A share that is 0 or 1 on all rows gets the exact one-sided bound of Clopper and Pearson at its open end.

    Args:
        values: One value a row.
        seed: Of the resampling.

    Returns:
        The estimate; NaN without rows.
    """
    own = np.asarray(values, dtype=float)
    if not are_flags(own):
        return ratio(own, np.ones(len(own)), seed=seed)
    if own.any() and not own.all():
        return share(own)
    bound = 1 - ((1 - LEVEL) / 2) ** (1 / len(own))
    return Estimate(1.0, 1 - bound, 1.0, len(own)) if own.all() else Estimate(0.0, 0.0, bound, len(own))


def ratio(
    numerators: Sequence[float] | np.ndarray, denominators: Sequence[float] | np.ndarray, *, seed: int = 0
) -> Estimate:
    """The sum of one value over the sum of another.

    Below 20 rows the interval is Student's by the jackknife, which for equal denominators is the usual one. From there on it is the bootstrap over rows, at
    percentiles that make it as wide as Student's for symmetric values (the expanded percentile interval; Hesterberg, The American Statistician 2015).

    Args:
        numerators: One value a row, such as a summed loss in nats.
        denominators: One value a row, such as a number of tokens.
        seed: Of the resampling.

    Returns:
        The estimate; NaN without rows, and an interval of NaN for a single row, which says nothing of the spread.
    """
    top, bottom = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if not len(top):
        return NOTHING
    value = float(top.sum() / bottom.sum())
    if len(top) < FEW:
        rest = bottom.sum() - bottom
        without = np.divide(top.sum() - top, rest, out=np.full(len(top), value), where=rest > 0)
        # Rows of very different sizes tell less of the spread than as many equal ones (Satterthwaite): n - 1 where all are equal.
        freedom = max(1.0, float(np.square(bottom).sum() ** 2 / (bottom**4).sum()) - 1)
        return jackknife(value, without, freedom=freedom)
    picks = np.random.default_rng(seed).integers(0, len(top), (RESAMPLES, len(top)))
    resampled = top[picks].sum(axis=1) / bottom[picks].sum(axis=1)
    tail = NormalDist().cdf(-math.sqrt(len(top) / (len(top) - 1)) * student_quantile(LEVEL, len(top) - 1))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), len(top))


def across_seeds(values: Sequence[float] | np.ndarray, *, level: float = LEVEL) -> Estimate:
    """The mean over independent runs, with Student's interval.

    Args:
        values: One value a seed.
        level: Of the interval.

    Returns:
        The estimate; an interval of NaN for a single seed, which says nothing of the spread.
    """
    if len(values) < 2:
        value = float(values[0]) if len(values) else float("nan")
        return Estimate(value, float("nan"), float("nan"), len(values))
    center, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = student_quantile(level, len(values) - 1) * error
    return Estimate(center, center - half, center + half, len(values))


def jackknife(
    whole: float, left_out: Sequence[float] | np.ndarray, *, level: float = LEVEL, freedom: float | None = None
) -> Estimate:
    """A statistic of all queries, with Student's interval around it by the jackknife (Tukey 1958).

    Resampling queries would draw some of them twice: a mean over fewer different queries is noisier than the one that is judged, so that areas under a curve
    of such means lie below it, and their percentiles may not even hold the estimate.

    Args:
        whole: The statistic of all queries.
        left_out: The statistic without each query in turn.
        level: Of the interval.
        freedom: Degrees of freedom, where they are fewer than the queries less one.

    Returns:
        The estimate, its interval for what as many other queries would give on average; NaN for a single query.
    """
    without, count = np.asarray(left_out, dtype=float), len(left_out)
    if count < 2:
        return Estimate(whole, float("nan"), float("nan"), count)
    error = math.sqrt((count - 1) / count * float(np.square(without - without.mean()).sum()))
    half = student_quantile(level, count - 1 if freedom is None else freedom) * error
    return Estimate(whole, whole - half, whole + half, count)


def crossed(cells: Float[np.ndarray, "s q"], *, level: float = LEVEL) -> Estimate:
    """The mean over two crossed samples, of which neither is independent within the other: every model is asked every query.

    Two-way random effects without repetition: Var = (MS_rows + MS_columns - MS_rest) / (s q), with degrees of freedom by Satterthwaite (1946). The variance is
    not let below that of either sample by itself.

    Args:
        cells: A value for each model and query.
        level: Of the interval.

    Returns:
        The estimate, counted by its queries; an interval of NaN where one of the samples has a single member.
    """
    rows, columns = cells.shape
    value = float(cells.mean())
    if min(rows, columns) < 2:
        return Estimate(value, float("nan"), float("nan"), columns)
    by_row, by_column = cells.mean(axis=1), cells.mean(axis=0)
    rest = cells - by_row[:, None] - by_column[None, :] + value
    first = columns * float(np.square(by_row - value).sum()) / (rows - 1)
    second = rows * float(np.square(by_column - value).sum()) / (columns - 1)
    third = float(np.square(rest).sum()) / ((rows - 1) * (columns - 1))
    total = max(first + second - third, first, second)
    if not total:
        return Estimate(value, value, value, columns)
    parts = (first**2 / (rows - 1), second**2 / (columns - 1), third**2 / ((rows - 1) * (columns - 1)))
    freedom = max(1.0, total**2 / sum(parts))
    half = student_quantile(level, freedom) * math.sqrt(total / (rows * columns))
    return Estimate(value, value - half, value + half, columns)


def paired_difference(
    before: Sequence[float] | np.ndarray, after: Sequence[float] | np.ndarray, *, seed: int = 0
) -> Estimate:
    """The mean of after minus before over the same rows: Newcombe's interval where all values are 0 or 1, else that of `mean`.

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
    one, two = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if are_flags(one, two):
        return Estimate(float((two - one).mean()), *newcombe_paired(one, two, level=LEVEL), len(one))
    return ratio(two - one, np.ones(len(one)), seed=seed)


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
    change = ratio(np.asarray(after, dtype=float) - np.asarray(before, dtype=float), tokens, seed=seed)
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
    return rank_correlations(np.asarray(scores)[:, None], np.asarray(truth)[:, None])[0]


def rank_correlations(predicted: np.ndarray, target: np.ndarray) -> list[float]:
    """Spearman's correlation of each column.

    Args:
        predicted: A column a query or task.
        target: The same.

    Returns:
        One a column; 0 where one of the two is constant.

    Raises:
        ValueError: When the two have different shapes.
    """
    from scipy.stats import rankdata

    if predicted.shape != target.shape:
        raise ValueError(f"columns to correlate need equal shapes, got {predicted.shape} and {target.shape}")
    first, second = (rankdata(side, axis=0) - (len(side) + 1) / 2 for side in (predicted, target))
    lengths = np.sqrt(np.square(first).sum(axis=0) * np.square(second).sum(axis=0))
    return ((first * second).sum(axis=0) / np.where(lengths > 0, lengths, 1.0)).tolist()
