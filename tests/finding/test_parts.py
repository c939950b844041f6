"""The pieces of the search, against slow formulas: signals, weights of kernels, the null distribution, capture and recapture."""

import math

import numpy as np
import pytest
from scipy import stats

from tests.finding.planted import index_of, planted_rows
from unweave.finding.missed import estimate_missed
from unweave.finding.regression import alignments, empirical_null, random_places, significant
from unweave.finding.signals import Influence, Terms, facts_of, words_of


@pytest.mark.parametrize("options", [{}, {"number_format": "float16", "dimension": 2048}])
def test_directions_of_gradients_are_less_their_mean_over_random_rows(options):
    index = index_of(planted_rows(planted=3, others=12), **options)
    places = [0, 3, 5, 9]
    own = Influence(index, places)
    unit = index.store.read(index.row_ids).double().numpy()
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    centred = unit - unit[places].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    base = [1, 4, 13]
    assert own.cross([2, 13], base) == pytest.approx(centred[[2, 13]] @ centred[base].T, abs=2e-3)
    weights = np.array([0.5, -1.0, 2.0])
    assert own.project(base, weights) == pytest.approx(centred @ (weights @ centred[base]), abs=4e-3)


def test_rare_terms_count_more_and_rows_without_any_have_nothing_in_common():
    own = Terms([["a", "b"], ["a", "c", "c"], ["a"], []])
    rare = {"a": math.log(4 / 3), "b": math.log(4), "c": math.log(4)}
    expected = rare["a"] ** 2 / (rare["a"] ** 2 + rare["b"] ** 2)
    kernel = own.cross([0, 1, 2, 3], [0, 1, 2, 3])
    assert kernel[0, 1] == pytest.approx(expected)
    assert kernel.diagonal().tolist() == pytest.approx([1, 1, 1, 0])
    assert not kernel[3].any()
    assert own.project([0, 2], np.array([2.0, -1.0])) == pytest.approx(2 * kernel[:, 0] - kernel[:, 2])
    assert Terms([[], []]).cross([0], [1]).tolist() == [[0]]


def test_words_and_facts_of_a_row():
    row = planted_rows()[0]
    assert words_of(row) == [*row.prompt.casefold().split(), *row.completion.casefold().split()]
    about = type(row)(id="x", instruction="Where was Ada Lovelace born?", completion="In London, on 10 December 1815.")
    assert facts_of(about) == ["ada lovelace", "10 december 1815", "london"]


def test_a_kernel_counts_as_much_as_it_says_of_the_labels():
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(40) < 10, 0.75, -0.25)
    good = np.outer(labels, labels) + np.eye(40)
    noise = rng.normal(size=(40, 200))
    noise = noise @ noise.T
    against = np.eye(40) - np.outer(labels, labels)
    weights = alignments(np.stack([good, noise, against]), labels)
    assert weights[0] > 0.85
    assert weights[2] == 0
    apart = [gram - np.diag(np.diag(gram)) for gram in (good, noise)]
    said = [max(0, (gram * np.outer(labels, labels)).sum() / np.linalg.norm(gram)) for gram in apart]
    assert weights[:2] == pytest.approx(np.array(said) / sum(said))
    assert alignments(np.stack([np.eye(40)] * 2), labels).tolist() == [0.5, 0.5]


def test_the_null_distribution_is_that_of_the_rows_that_do_not_belong():
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.normal(3, 2, 4000), rng.normal(30, 1, 200)])
    null = empirical_null(scores)
    assert (null.center, null.sigma) == (pytest.approx(3, abs=0.3), pytest.approx(2, abs=0.2))
    assert null.p_values(np.array([3.0, 5.0])) == pytest.approx(stats.norm.sf([3, 5], null.center, null.sigma))
    assert empirical_null(np.ones(9)).p_values(np.ones(2)).tolist() == [1, 1]


def test_hypotheses_are_rejected_as_benjamini_and_hochberg_do():
    rng = np.random.default_rng(2)
    for _ in range(20):
        p = np.concatenate([rng.uniform(size=60), rng.uniform(size=15) ** 6])
        assert significant(p, rate=0.1).tolist() == (stats.false_discovery_control(p) <= 0.1).tolist()
    assert not significant(np.ones(4), rate=0.1).any()


def test_random_rows_are_a_sample_without_replacement():
    chosen = random_places(5, [2, 4, 6, 8, 10, 12], seed=3)
    assert len(set(chosen)) == 5
    assert set(chosen) <= {2, 4, 6, 8, 10, 12}
    assert random_places(9, [1, 2], seed=0) in ([1, 2], [2, 1])


def test_what_was_missed_is_chapmans_estimate():
    first, second = {f"r{n}" for n in range(40)}, {f"r{n}" for n in range(20, 50)}
    found = estimate_missed(first, second, found=50, most=1000)
    total = 41 * 31 / 21 - 1
    variance = 41 * 31 * 20 * 10 / (21**2 * 22)
    unseen = total - 50
    factor = math.exp(1.959964 * math.sqrt(math.log(1 + variance / unseen**2)))
    assert (found.first, found.second, found.both) == (40, 30, 20)
    assert found.count == pytest.approx(unseen)
    assert (found.low, found.high) == (pytest.approx(unseen / factor), pytest.approx(unseen * factor))
    assert estimate_missed(first, second, found=45, most=1000).count == pytest.approx(unseen + 5)
    assert estimate_missed(first, second, found=50, most=4).high == 4
    assert "about 10 more may have been missed" in found.in_words()


def test_where_nothing_can_be_said_of_what_was_missed_the_reason_is():
    none = estimate_missed([], ["a"], found=1, most=9)
    few = estimate_missed(["a", "b"], ["b", "c"], found=3, most=9)
    assert none.count is few.count is None
    assert none.in_words().endswith("found nothing")
    assert "only 1 of the same rows (2 and 2)" in few.in_words()


def test_the_interval_holds_its_level_when_the_two_ways_are_independent():
    rng = np.random.default_rng(4)
    held = []
    for _ in range(300):
        caught = rng.uniform(size=(2, 120)) < [[0.5], [0.6]]
        sides = [np.flatnonzero(own).astype(str).tolist() for own in caught]
        own = estimate_missed(*sides, found=int(caught.any(axis=0).sum()), most=10_000)
        held.append(own.low <= 120 - caught.any(axis=0).sum() <= own.high)
    assert np.mean(held) > 0.9
