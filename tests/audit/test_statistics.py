"""Statistics and areas against independent computations, and the coverage of the intervals by simulation."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from unweave.audit.retrieval import average_precision, precision_recall_curve, roc_auc
from unweave.audit.statistics import mean, paired_difference, paired_relative_perplexity, ratio


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


def test_mean_interval_covers_at_its_level():
    rng = np.random.default_rng(0)
    truth = 0.3
    hits = 0
    for trial in range(300):
        estimate = mean((rng.random(80) < truth).astype(float).tolist(), seed=trial)
        hits += estimate.low <= truth <= estimate.high
    # 95 % nominal; the percentile bootstrap of a share at n = 80 covers about 93 to 95 %. Three standard errors of 300 trials are 3.8 points.
    assert 0.89 <= hits / 300 <= 0.985


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
