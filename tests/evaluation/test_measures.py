"""Every metric on cases small enough to compute by hand, and against independent implementations."""

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from unweave.evaluation.forced import Forced
from unweave.evaluation.inference import Scored, membership_attacks, privleak_attack
from unweave.evaluation.measures.divergence import kl_divergence
from unweave.evaluation.measures.likelihood import (
    choice_probability,
    exact_memorisation,
    extraction_strength,
    perplexity,
    probability,
    truth_ratio,
    truth_ratio_forget,
    truth_ratio_retain,
)
from unweave.evaluation.measures.membership import (
    gradnorm_score,
    loss_score,
    membership,
    min_k_plus_plus_score,
    min_k_score,
    privleak,
    reference_score,
    zlib_score,
)
from unweave.evaluation.measures.text import rouge_l_recall

hits = st.lists(st.booleans(), min_size=1, max_size=20)
losses = st.lists(st.floats(0, 50), min_size=1, max_size=20)


def test_probability_and_perplexity_by_hand():
    assert probability([math.log(2), math.log(8)]) == pytest.approx(1 / 4)
    # The long row counts by its tokens: (3 log 2 + log 16) / 4 = 7/4 log 2.
    assert perplexity([[math.log(2)] * 3, [math.log(16)]]) == pytest.approx(2 ** (7 / 4))
    assert math.isnan(probability([]))
    assert math.isnan(perplexity([]))


def test_memorisation_by_hand():
    assert exact_memorisation([True, False, True, True]) == 0.75
    assert extraction_strength([True, False, True, True]) == 0.5
    assert extraction_strength([True] * 5) == 1.0
    # All wrong gives 0; a search that stops one token early gives 1/T.
    assert extraction_strength([False] * 5) == 0.0
    assert extraction_strength([True, True, False]) == 0.0


@given(hits)
def test_extraction_strength_is_one_minus_the_shortest_prefix(flags):
    shortest = next(k for k in range(len(flags) + 1) if all(flags[k:]))
    assert extraction_strength(flags) == pytest.approx(1 - shortest / len(flags))
    assert extraction_strength(flags) <= exact_memorisation(flags)


def test_truth_ratios_by_hand():
    # P(right) = 1/4 a token; the wrong ones 1/2 and 1/32, whose geometric mean is 1/8.
    ratio = truth_ratio(math.log(4), [math.log(2), math.log(32)])
    assert ratio == pytest.approx(0.5)
    # Their arithmetic mean is 17/64.
    arithmetic = truth_ratio(math.log(4), [math.log(2), math.log(32)], averaging="arithmetic")
    assert arithmetic == pytest.approx(17 / 16)
    assert truth_ratio_forget(ratio) == pytest.approx(0.5)
    assert truth_ratio_forget(1 / ratio) == pytest.approx(0.5)
    assert truth_ratio_retain(ratio) == pytest.approx(0.5)
    assert truth_ratio_retain(2.0) == 0.0
    assert math.isnan(truth_ratio_retain(float("nan")))
    assert truth_ratio_forget(truth_ratio(5000.0, [1.0])) == 0.0
    assert choice_probability(math.log(2), [math.log(4), math.log(4)]) == pytest.approx(0.5)
    assert choice_probability(5000.0, [5000.0]) == pytest.approx(0.5)


@given(losses, st.floats(0, 20))
def test_scores_move_with_the_losses(values, shift):
    worse = [value + shift for value in values]
    assert loss_score(worse) <= loss_score(values) + 1e-9
    assert min_k_score(worse) == pytest.approx(min_k_score(values) - shift, abs=1e-6)
    assert reference_score(values, worse) == pytest.approx(shift, abs=1e-6)
    assert min_k_score(values, share=1.0) == pytest.approx(loss_score(values))
    assert min_k_score(values) <= loss_score(values) + 1e-9


def test_membership_scores_by_hand():
    assert min_k_score([1.0, 5.0, 2.0, 3.0, 4.0], share=0.4) == pytest.approx(-4.5)
    assert min_k_plus_plus_score([2.0, 4.0], [-3.0, -3.0], [0.5, 2.0], share=0.5) == pytest.approx(-0.5)
    assert min_k_plus_plus_score([2.0], [-2.0], [0.0]) == 0.0
    assert zlib_score([1.0, 3.0], "teapots") == pytest.approx(-2.0 / len(zlib.compress(b"teapots")))
    assert gradnorm_score(3.0) == -3.0
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        min_k_score([1.0], share=0.0)


def test_membership_is_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    members, others = rng.normal(1, 1, 40).tolist(), rng.normal(0, 1, 30).tolist()
    found = membership(members, others)
    assert found.area == pytest.approx(roc_auc_score([1] * 40 + [0] * 30, members + others))
    assert found.low < found.area < found.high
    perfect = membership([2.0, 3.0, 4.0], [0.0, 1.0])
    assert perfect.area == 1.0
    assert perfect.low < 0.9, "five rows can't show certainty"


def test_privleak_has_the_sign_of_muse():
    assert privleak(0.5, 0.5) == 0.0
    assert privleak(0.9, 0.5) == pytest.approx(-80.0), "under-forgotten is negative"
    assert privleak(0.2, 0.5) == pytest.approx(60.0), "over-forgotten is positive"
    assert privleak(1.0, 1.0) == 0.0
    assert privleak(0.5, 1.0) == math.inf


def test_privleak_goes_by_min_40_percent():
    def side(row):
        return Scored(Forced(["a"], [row], [[True] * 5], [[-1.0] * 5], [[1.0] * 5]), ["x"])

    # Of five tokens the least likely one (20 %) says the one, the two least likely ones (40 %) the other.
    members, others = side([3.0, 0.0, 0.1, 0.1, 0.1]), side([2.0, 1.9, 0.1, 0.1, 0.1])
    assert membership_attacks(members, others)["min_k"].area == 0.0
    assert privleak_attack(members, others).area == 1.0


def test_rouge_l_recall_by_hand():
    # The longest common subsequence of "the cat sat on the mat" is "cat on the mat": four of six words.
    assert rouge_l_recall("the cat sat on the mat", "a cat lay on the mat") == pytest.approx(4 / 6)
    assert rouge_l_recall("running dogs", "run dog") == 1.0, "words are stemmed"
    assert rouge_l_recall("Basil Mahfouz", "") == 0.0


def test_kl_divergence_by_hand():
    p, q = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.5, 0.25]]).log()
    expected = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert float(kl_divergence(p, q)) == pytest.approx(expected, rel=1e-5)
    shifted = kl_divergence(p + 3, q - 7)
    assert float(shifted) == pytest.approx(expected, rel=1e-4), "logits count up to a constant"
