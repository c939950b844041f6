"""Statistics and areas against independent computations; what intervals cover is in test_coverage.py."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from unweave.evaluation.tracing import area_of_mean
from unweave.stats.intervals import (
    across_seeds,
    crossed,
    jackknife,
    mean,
    paired_difference,
    paired_relative_perplexity,
    ratio,
    share,
)
from unweave.stats.ranking import average_precision, precision_recall_curve, roc_auc


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_areas_equal_scikit_learns(seed, ties):
    rng = np.random.default_rng(seed)
    relevant = rng.random(60) < 0.3
    scores = rng.normal(size=60) + relevant
    if ties:
        scores = np.round(scores)
    assert average_precision(relevant.tolist(), scores.tolist()) == pytest.approx(
        average_precision_score(relevant, scores)
    )
    assert roc_auc(relevant.tolist(), scores.tolist()) == pytest.approx(roc_auc_score(relevant, scores))


def test_areas_by_hand():
    assert average_precision([True, False, True, False], [4, 3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert roc_auc([True, False, True, False], [4, 3, 2, 1]) == pytest.approx(3 / 4)
    assert average_precision([True, False], [1, 1]) == pytest.approx(0.5)
    assert roc_auc([True, False], [1, 1]) == pytest.approx(0.5)
    assert math.isnan(average_precision([False, False], [1, 2]))
    assert math.isnan(roc_auc([True, True], [1, 2]))
    assert precision_recall_curve([True, False, True], [3, 2, 1]) == ([0.5, 0.5, 1.0], [1.0, 0.5, 2 / 3])
    with pytest.raises(ValueError, match="2 scores for 1 rows"):
        average_precision([True], [1, 2])


@pytest.mark.parametrize("count", [2, 5, 19])
def test_few_values_have_students_interval(count):
    values = np.random.default_rng(count).exponential(size=count)
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    for found in (
        mean(values),
        ratio(values, np.ones(count)),
        across_seeds(values),
        paired_difference(np.zeros(count), values),
    ):
        assert (found.low, found.high) == pytest.approx(expected)
        assert found.value == pytest.approx(values.mean())


def test_many_values_have_a_bootstrap_as_wide_as_students():
    values = np.random.default_rng(3).normal(size=24)
    found, expected = mean(values), stats.t.interval(0.95, 23, values.mean(), stats.sem(values))
    plain = np.percentile(values[np.random.default_rng(1).integers(0, 24, (9999, 24))].mean(axis=1), [2.5, 97.5])
    assert found.high - found.low == pytest.approx(expected[1] - expected[0], rel=0.05)
    assert found.high - found.low > 1.05 * (plain[1] - plain[0]), "plain percentiles of 24 rows are too narrow"
    assert mean(values, seed=1) != found


def test_zeros_and_ones_are_shares():
    flags = [1.0, 0.0, 0.0, 1.0, 1.0]
    assert mean(flags) == share(flags)
    same = paired_difference([1.0] * 8, [1.0] * 8)
    assert same.low < 0.0 < same.high, "eight rows that agree never show certainty"


def test_the_jackknife_of_a_mean_is_students_and_holds_the_estimate():
    values = np.random.default_rng(5).normal(size=9)
    without = (values.sum() - values) / 8
    found = jackknife(float(values.mean()), without)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 8, values.mean(), stats.sem(values)))
    assert math.isnan(jackknife(1.0, [1.0]).low)


def test_an_area_of_mean_scores_lies_in_its_interval():
    # Resampled answers repeat, and a mean of fewer different answers orders rows worse: percentiles lay below the estimate.
    rng = np.random.default_rng(0)
    relevant = [True] * 8 + [False] * 52
    table = rng.normal(size=60) + np.array(relevant) + rng.normal(0, 2, (10, 60))
    found = area_of_mean(average_precision, relevant, table)
    picks = rng.integers(0, 10, (300, 10))
    resampled = np.percentile([average_precision(relevant, table[pick].mean(axis=0)) for pick in picks], [2.5, 97.5])
    assert resampled.mean() < found.value < (found.low + found.high) / 2 + 1e-9
    without = [average_precision(relevant, np.delete(table, query, axis=0).mean(axis=0)) for query in range(10)]
    error = math.sqrt(9 / 10 * np.square(np.array(without) - np.mean(without)).sum())
    assert found.high == pytest.approx(min(1.0, found.value + stats.t.ppf(0.975, 9) * error))
    assert math.isnan(area_of_mean(roc_auc, relevant, table[:1]).low)


def test_crossed_samples_by_hand():
    # Without an interaction the variance is that of both samples' means: 1/2 sd^2 of rows, 1/3 sd^2 of columns.
    cells = np.array([[0.0], [2.0]]) + np.array([[1.0, 2.0, 6.0]])
    found = crossed(cells)
    variance = 2.0 / 2 + 7.0 / 3
    freedom = variance**2 / ((2.0 / 2) ** 2 / 1 + (7.0 / 3) ** 2 / 2)
    assert found.value == pytest.approx(4.0)
    assert found.high - 4.0 == pytest.approx(stats.t.ppf(0.975, freedom) * math.sqrt(variance))
    assert math.isnan(crossed(cells[:1]).low)


def test_a_share_of_zero_has_no_interval_of_zero_width():
    estimate = mean([0.0] * 60)
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 60))
    full = mean([1.0] * 60)
    assert full.low == pytest.approx(0.025 ** (1 / 60))
    assert full.high == 1.0


def test_ratio_weights_by_tokens():
    estimate = ratio([10.0, 2.0], [5, 1])
    assert estimate.value == pytest.approx(2.0)
    assert math.isnan(ratio([], []).value)


def test_paired_differences_use_the_pairing():
    rng = np.random.default_rng(1)
    before = rng.normal(size=200) * 10
    after = before + 0.5 + rng.normal(size=200) * 0.1
    change = paired_difference(before.tolist(), after.tolist())
    assert change.low > 0.4
    assert change.high < 0.6
    with pytest.raises(ValueError, match="3 and 2"):
        paired_difference([1, 2, 3], [1, 2])


def test_relative_perplexity_is_exp_of_the_loss_difference_a_token():
    change = paired_relative_perplexity([2.0, 4.0], [2.6, 4.0], [2, 4])
    assert change.value == pytest.approx(math.exp(0.6 / 6) - 1)
    assert change.low <= change.value <= change.high
