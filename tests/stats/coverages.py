"""Simulations of what each interval covers: each draws data whose truth is known, asks the package for its interval, and says whether the truth lies in it.

`coverage_cases.py` has what they are run on. A truth that takes long to find is found when it is first asked for: cases that are only listed cost nothing.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.stats import norm

from unweave.evaluation.attacks.lens import probe
from unweave.evaluation.measures.membership import membership
from unweave.evaluation.tracing import area_of_mean
from unweave.evaluation.verdict import joined_mean
from unweave.experiments.influence.controls import summarise
from unweave.experiments.influence.lds import datamodelling_score
from unweave.ledger.shown import beyond_chance
from unweave.stats.comparisons import compare_paired, holm
from unweave.stats.intervals import (
    Estimate,
    across_seeds,
    auc_interval,
    crossed,
    mean,
    paired_difference,
    paired_relative_perplexity,
    rank_correlations,
    ratio,
    share,
)  # fmt: skip
from unweave.stats.ranking import average_precision, roc_auc
from unweave.valuation.fitting import conformal_width

Rng = np.random.Generator


def within(found: Estimate, truth: float) -> bool:
    return bool(found.low <= truth <= found.high)


def seed_of(rng: Rng) -> int:
    return int(rng.integers(1 << 31))


def losses(rng: Rng, size: int | tuple[int, ...]) -> np.ndarray:
    """Losses of rows, in nats a token: skewed to the right (1.15), mean 1."""
    return rng.gamma(3.0, 1 / 3, size)


def mean_loss(count: int) -> Callable[[Rng], bool]:
    return lambda rng: within(mean(losses(rng, count), seed=seed_of(rng)), 1.0)


def perplexity(count: int) -> Callable[[Rng], bool]:
    def draw(rng: Rng) -> bool:
        tokens = rng.integers(4, 40, count)
        own = rng.gamma(3.0, 1 / 3, count) * tokens
        return within(ratio(own, tokens, seed=seed_of(rng)), 1.0)

    return draw


def relative_perplexity(count: int) -> Callable[[Rng], bool]:
    def draw(rng: Rng) -> bool:
        tokens = rng.integers(4, 40, count)
        before = losses(rng, count) * tokens
        after = before + (0.1 + 0.3 * (losses(rng, count) - 1)) * tokens
        return within(paired_relative_perplexity(before, after, tokens, seed=seed_of(rng)), float(np.expm1(0.1)))

    return draw


def paired_losses(count: int) -> Callable[[Rng], bool]:
    def draw(rng: Rng) -> bool:
        before = losses(rng, count)
        return within(paired_difference(before, before + losses(rng, count), seed=seed_of(rng)), 1.0)

    return draw


def counted(count: int, truth: float) -> Callable[[Rng], bool]:
    return lambda rng: within(share((rng.random(count) < truth).astype(float)), truth)


def varied_share(count: int) -> Callable[[Rng], bool]:
    """Over all shares alike: what Wilson's interval holds on average."""

    def draw(rng: Rng) -> bool:
        truth = rng.random()
        return within(share((rng.random(count) < truth).astype(float)), truth)

    return draw


def sampled_share(count: int, draws: int) -> Callable[[Rng], bool]:
    """The mean share of draws, where prompts differ: Beta(1, 3) of mean 0.25."""

    def draw(rng: Rng) -> bool:
        flags = rng.binomial(draws, rng.beta(1, 3, count)) / draws
        return within(mean(flags, seed=seed_of(rng)), 0.25)

    return draw


def paired_shares(count: int, first: float, second: float, kept: float) -> Callable[[Rng], bool]:
    """The second answer is the first one's with a chance, else new."""
    again = (second - kept * first) / (1 - kept)

    def draw(rng: Rng) -> bool:
        one = rng.random(count) < first
        two = np.where(rng.random(count) < kept, one, rng.random(count) < again)
        return within(paired_difference(one.astype(float), two.astype(float)), second - first)

    return draw


def area(members: int, others: int, shift: float) -> Callable[[Rng], bool]:
    truth = float(norm.cdf(shift / 2**0.5))

    def draw(rng: Rng) -> bool:
        one, two = rng.normal(shift, 1, members), rng.normal(0, 1, others)
        low, high = auc_interval(float((one[:, None] > two).mean()), members, others)
        return bool(low <= truth <= high)

    return draw


def probe_area(count: int, shift: float) -> Callable[[Rng], bool]:
    def draw(rng: Rng) -> bool:
        found = probe(*_probe_data(rng, count, shift))
        return bool(found["interval"][0] <= _probe_truth(count, shift) <= found["interval"][1])

    return draw


def _probe_data(rng: Rng, count: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([1.0] * count + [0.0] * count)
    states = rng.normal(size=(2 * count, 8))
    states[:, 0] += shift * labels
    return states, labels


@cache
def _probe_truth(count: int, shift: float) -> float:
    rng = np.random.default_rng(1)
    return float(np.mean([probe(*_probe_data(rng, count, shift))["auc"] for _ in range(300)]))


AREAS = {"auPRC": average_precision, "auROC": roc_auc}
RELEVANT = [True] * 8 + [False] * 52
FAMILIES = np.array([0, 1, 2, 3] * 2 + [-1] * 52)


def tables(rng: Rng, queries: int) -> np.ndarray:
    """Scores of 60 rows, of which eight are to be found, two of a family: an answer is of one family, finds its rows well and the others not at all.

    Percentiles of resampled answers cover too little here (`replaced.py`): a family that is not drawn is not found.
    """
    own = np.random.default_rng(7).normal(size=60) * 0.3
    return own + 3.0 * (rng.integers(0, 4, (queries, 1)) == FAMILIES) + 2.0 * rng.normal(size=(queries, 60))


def mean_score(kind: str, queries: int) -> Callable[[Rng], bool]:
    return lambda rng: within(area_of_mean(AREAS[kind], RELEVANT, tables(rng, queries)), area_truth(kind, queries))


@cache
def area_truth(kind: str, queries: int) -> float:
    rng = np.random.default_rng(2)
    return float(np.mean([AREAS[kind](RELEVANT, tables(rng, queries).mean(axis=0)) for _ in range(4000)]))


def one_answer(queries: int) -> Callable[[Rng], bool]:
    def draw(rng: Rng) -> bool:
        areas = [average_precision(RELEVANT, row) for row in tables(rng, queries)]
        return within(mean(areas, seed=seed_of(rng)).within(0, 1), area_truth("auPRC", 1))

    return draw


def datamodelling(models: int, queries: int) -> Callable[[Rng], bool]:
    return lambda rng: within(datamodelling_score(*retrained(rng, models, queries)), lds_truth(models, queries))


def retrained(rng: Rng, models: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Models without half of 24 rows. A row has an effect on all queries and one on each; half of what it does is predicted, the model's luck is shared.

    An interval over queries alone covers too little here (`replaced.py`).
    """
    members = np.argsort(rng.random((models, 24)), axis=1) < 12
    common = np.random.default_rng(5).normal(size=(24, 1))
    known, unknown = common + rng.normal(size=(24, queries)), rng.normal(size=(24, queries))
    strength, luck = rng.uniform(0.3, 1.5, queries), 5 * rng.normal(size=(models, 1))
    measured = members @ (known * strength + unknown) + luck + 2 * rng.normal(size=(models, queries))
    return (members @ known).astype(float), measured


@cache
def lds_truth(models: int, queries: int) -> float:
    rng = np.random.default_rng(3)
    return float(np.mean([np.mean(rank_correlations(*retrained(rng, models, queries))) for _ in range(1500)]))


def over_queries(queries: int) -> Callable[[Rng], bool]:
    """Correlations of queries: skewed to the left below 1."""
    return lambda rng: within(mean(1 - rng.beta(2, 6, queries), seed=seed_of(rng)).within(-1, 1), 0.75)


def two_samples(models: int, queries: int) -> Callable[[Rng], bool]:
    def draw(rng: Rng) -> bool:
        cells = rng.normal(size=(models, 1)) + 0.5 * rng.normal(size=(1, queries)) + rng.normal(size=(models, queries))
        return within(crossed(cells), 0.0)

    return draw


def seeds(count: int) -> Callable[[Rng], bool]:
    return lambda rng: within(across_seeds(rng.normal(2, 1, count)), 2.0)


def control_seeds(count: int) -> Callable[[Rng], bool]:
    """Four cells a seed, which share half of their variance."""

    def draw(rng: Rng) -> bool:
        runs = []
        for seed in range(count):
            common = rng.normal()
            for cell in range(4):
                value = 0.3 + common + rng.normal()
                for kind, own in (("rapidun", value), ("uniform", 0.0)):
                    entry = {"forget_rows": cell, "retain_rows": 1, "kind": kind, "seed": seed}
                    runs.append({**entry, "attack_success": own, "unwanted_loss": 0.0, "clean_loss": 0.0})
        found = summarise(runs, ("rapidun", "uniform"))["against"]["uniform"]["attack_success"]
        return bool(found["low"] <= 0.3 <= found["high"])

    return draw


def joined(count: int) -> Callable[[Rng], bool]:
    """The mean over three sets of rows, whose intervals are joined, as in a verdict's distance."""

    def draw(rng: Rng) -> bool:
        return within(
            joined_mean([list(losses(rng, count) * scale) for scale in (0.5, 1.0, 3.0)], seed=seed_of(rng)), 1.5
        )

    return draw


def conformal(rows: int, coverage: float) -> Callable[[Rng], bool]:
    return lambda rng: bool(abs(rng.standard_t(3)) <= conformal_width(np.abs(rng.standard_t(3, rows)), coverage))


def at_the_margin(kind: str, count: int, margin: float) -> Callable[[Rng], bool]:
    """The true difference is the margin, so that either claim is wrong; the margin is in standard errors."""
    beyond = margin / count**0.5

    def claimed(rng: Rng) -> bool:
        one = losses(rng, count)
        found = compare_paired("x", one, one + rng.normal(beyond, 1, count), margin=beyond)
        return found.conclusion == kind

    return claimed


def family(count: int) -> Callable[[Rng], bool]:
    """Seven comparisons of which none is so: whether any is claimed after Holm."""
    return lambda rng: bool(min(holm(rng.random(count).tolist())) < 0.05)


def areas_differ(count: int, shift: float) -> Callable[[Rng], bool]:
    def claimed(rng: Rng) -> bool:
        pair = [membership(rng.normal(shift, 1, count), rng.normal(0, 1, count)) for _ in range(2)]
        return not pair[0].agrees_with(pair[1])

    return claimed


def rows_rose(count: int, others: int) -> Callable[[Rng], bool]:
    """The rows to be forgotten changed as all others did."""
    return lambda rng: beyond_chance(rng.normal(0.2, 1, count), rng.normal(0.2, 1, others), None)
