"""Intervals, tests and corrections: properties by hypothesis, coverage and error rates by simulation, known values by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unweave.stats.comparisons import as_family, compare_paired, holm, newcombe_paired
from unweave.stats.intervals import across_seeds, auc_interval, wilson

floats = st.floats(-100, 100)
pairs = st.lists(st.tuples(floats, floats), min_size=2, max_size=30)
bits = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(st.integers(1, 500).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_wilson_lies_around_the_share_and_equals_scipys(case):
    successes, count = case
    low, high = wilson(successes, count)
    assert 0 <= low <= successes / count <= high <= 1
    expected = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.floats(0, 1), st.integers(1, 200), st.integers(1, 200))
def test_auc_intervals_lie_around_the_area_and_mirror(area, positives, negatives):
    low, high = auc_interval(area, positives, negatives)
    assert -1e-9 <= low <= area + 1e-6
    assert area - 1e-6 <= high <= 1 + 1e-9
    mirrored = auc_interval(1 - area, negatives, positives)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-6)


@given(p_values)
def test_holm_keeps_order_and_only_raises(values):
    adjusted = holm(values)
    assert all(raw <= new <= 1 for raw, new in zip(values, adjusted, strict=True))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
    assert min(adjusted) == pytest.approx(min(1.0, len(values) * min(values)))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(pairs, st.floats(0.01, 10))
@settings(max_examples=25, deadline=None)
def test_a_comparison_is_the_mirror_of_its_reverse(values, margin):
    one, two = [pair[0] for pair in values], [pair[1] for pair in values]
    forth, back = compare_paired("x", one, two, margin=margin), compare_paired("x", two, one, margin=margin)
    assert forth.difference == pytest.approx(-back.difference)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=1e-6)
    assert forth.conclusion == back.conclusion
    assert 0 <= forth.p_beyond <= 1
    assert 0 <= forth.p_within <= 1
    # No difference can lie both beyond the margin and within it.
    assert not (forth.p_beyond < 0.05 and forth.p_within < 0.05)


@given(bits)
@settings(max_examples=25, deadline=None)
def test_paired_shares_stay_within_their_range(values):
    one, two = (np.array(side, dtype=float) for side in zip(*values, strict=True))
    low, high = newcombe_paired(one, two, level=0.95)
    assert -1 <= low <= two.mean() - one.mean() <= high <= 1
    assert high - low > 0, "some rows never show certainty"


def test_newcombe_paired_equals_the_published_example():
    # Newcombe (1998), table III, method 10: a = 36, b = 12, c = 2, d = 0 of 50 gives 0.2000 [0.0569, 0.3404].
    first = np.array([1.0] * 36 + [1.0] * 12 + [0.0] * 2)
    second = np.array([1.0] * 36 + [0.0] * 12 + [1.0] * 2)
    low, high = newcombe_paired(second, first, level=0.95)
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_conclusions_by_hand():
    rng = np.random.default_rng(0)
    base = rng.normal(size=200)
    noise = rng.normal(size=200) * 0.1
    assert compare_paired("x", base, base + noise + 1, margin=0.5).conclusion == "different"
    assert compare_paired("x", base, base + noise, margin=0.5).conclusion == "equivalent"
    few = compare_paired("x", base[:5], base[:5] + rng.normal(size=5), margin=0.1)
    assert few.conclusion == "unclear"
    assert few.rows_needed > 5
    same = compare_paired("x", [0.0] * 60, [0.0] * 60, margin=0.1)
    assert (same.conclusion, same.p_zero) == ("equivalent", 1.0)
    assert compare_paired("x", [0.0] * 6, [0.0] * 6, margin=0.1).conclusion == "unclear", "six rows can't show it"


def test_continuous_p_values_are_those_of_the_t_test():
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=40), rng.normal(size=40) + 0.4
    found = compare_paired("x", one, two, margin=0.3)
    # Both tails at the margin: as large a difference, on either side of the lower and of the upper one.
    beyond = sum(stats.ttest_1samp(two - one, edge, alternative="greater").pvalue for edge in (0.3, -0.3))
    within = max(
        stats.ttest_1samp(two - one, 0.3, alternative="less").pvalue,
        stats.ttest_1samp(two - one, -0.3, alternative="greater").pvalue,
    )
    # An interval that lies wholly on one side of the margin has its centre there: p beyond 0.5 reads as 1.
    assert found.p_beyond == pytest.approx(beyond if beyond < 0.5 else 1.0, abs=1e-6)
    assert found.p_within == pytest.approx(within if within < 0.5 else 1.0, abs=1e-6)
    assert found.effect_size == pytest.approx((two - one).mean() / (two - one).std(ddof=1))


def test_a_margin_of_nothing_is_the_two_sided_test():
    rng = np.random.default_rng(4)
    one, two = rng.normal(size=20), rng.normal(size=20) + 0.5
    assert compare_paired("x", one, two, margin=1e-12).p_beyond == pytest.approx(stats.ttest_rel(one, two).pvalue)
    first, second = (np.array([0.0] * 20 + [1.0] * 5), np.array([1.0] * 6 + [0.0] * 14 + [1.0] * 5))
    found = compare_paired("x", first, second, margin=1e-12)
    level = 1 - found.p_beyond
    assert newcombe_paired(first, second, level=level)[0] == pytest.approx(0.0, abs=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match="equal lengths"):
        compare_paired("x", [1.0, 2.0], [1.0], margin=1)
    with pytest.raises(ValueError, match="not finite"):
        compare_paired("x", [1.0, math.nan], [1.0, 2.0], margin=1)
    with pytest.raises(ValueError, match="above 0"):
        compare_paired("x", [1.0, 2.0], [1.0, 2.0], margin=0)


def test_a_family_is_stricter_than_its_members():
    rng = np.random.default_rng(2)
    base = rng.normal(size=30)
    own = [compare_paired(str(n), base, base + 0.2 + rng.normal(size=30) * 0.35, margin=0.05) for n in range(12)]
    family = as_family(own)
    assert sum(one.conclusion == "different" for one in own) > sum(one.conclusion == "different" for one in family)
    assert all(one.p_beyond_holm >= one.p_beyond for one in family)


def test_one_seed_tells_nothing_of_the_spread():
    assert math.isnan(across_seeds([1.0]).low)
    assert across_seeds([1.0, 2.0, 3.0]).value == 2.0
