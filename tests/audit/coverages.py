"""Simulations of what each interval covers: a case draws data whose truth is known, asks the package for its interval, and says whether the truth lies in it.

`tests/audit/test_coverage.py` runs few repetitions of each, `benchmarks/interval_coverage.py` many.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.stats import norm

from unweave.audit.attacks.lens import probe
from unweave.audit.comparisons import compare_paired, holm
from unweave.audit.influence.controls import summarise
from unweave.audit.influence.lds import datamodelling_score
from unweave.audit.ledger.shown import beyond_chance
from unweave.audit.measures.membership import membership
from unweave.audit.retrieval import average_precision, roc_auc
from unweave.audit.statistics import (
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
from unweave.audit.tracing import area_of_mean
from unweave.value.fit import conformal_width

Rng = np.random.Generator
LOWEST, HIGHEST = 0.92, 0.97


@dataclass(frozen=True)
class Case:
    """One interval on one kind of data.

    Attributes:
        method: How it is made.
        where: What it is printed beside.
        size: Rows, queries, seeds.
        draw: One repetition: whether the truth is covered.
        nominal: What it should cover.
        bounds: What it covers at least and at most.
        because: Where that is not 0.92 to 0.97: what it covers instead.
        repetitions: In the tests; none where they take too long there.
    """

    method: str
    where: str
    size: str
    draw: Callable[[Rng], bool]
    nominal: float = 0.95
    bounds: tuple[float, float] = (LOWEST, HIGHEST)
    because: str = ""
    repetitions: int = field(default=500, compare=False)

    @property
    def name(self) -> str:
        """For the ids of tests."""
        return f"{self.method}, {self.where}, {self.size}"


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
    truth = _probe_truth(count, shift)

    def draw(rng: Rng) -> bool:
        found = probe(*_probe_data(rng, count, shift))
        return bool(found["interval"][0] <= truth <= found["interval"][1])

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


def _tables(rng: Rng, queries: int) -> np.ndarray:
    """Scores of 60 rows, of which eight are to be found, two of a family: an answer is of one family, finds its rows well and the others not at all.

    Percentiles of resampled answers cover 0.78 to 0.90 here, and up to one in seven does not hold the estimate: a family that is not drawn is not found.
    """
    own = np.random.default_rng(7).normal(size=60) * 0.3
    return own + 3.0 * (rng.integers(0, 4, (queries, 1)) == FAMILIES) + 2.0 * rng.normal(size=(queries, 60))


def mean_score(kind: str, queries: int) -> Callable[[Rng], bool]:
    truth = _area_truth(kind, queries)
    return lambda rng: within(area_of_mean(AREAS[kind], RELEVANT, _tables(rng, queries)), truth)


@cache
def _area_truth(kind: str, queries: int) -> float:
    rng = np.random.default_rng(2)
    return float(np.mean([AREAS[kind](RELEVANT, _tables(rng, queries).mean(axis=0)) for _ in range(4000)]))


def one_answer(queries: int) -> Callable[[Rng], bool]:
    truth = _area_truth("auPRC", 1)

    def draw(rng: Rng) -> bool:
        areas = [average_precision(RELEVANT, row) for row in _tables(rng, queries)]
        return within(mean(areas, seed=seed_of(rng)).within(0, 1), truth)

    return draw


def datamodelling(models: int, queries: int) -> Callable[[Rng], bool]:
    truth = _lds_truth(models, queries)
    return lambda rng: within(datamodelling_score(*_retrained(rng, models, queries)), truth)


def _retrained(rng: Rng, models: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Models without half of 24 rows. A row has an effect on all queries and one on each; half of what it does is predicted, the model's luck is shared.

    An interval over queries alone covers 0.62 to 0.69 here.
    """
    members = np.argsort(rng.random((models, 24)), axis=1) < 12
    common = np.random.default_rng(5).normal(size=(24, 1))
    known, unknown = common + rng.normal(size=(24, queries)), rng.normal(size=(24, queries))
    strength, luck = rng.uniform(0.3, 1.5, queries), 5 * rng.normal(size=(models, 1))
    measured = members @ (known * strength + unknown) + luck + 2 * rng.normal(size=(models, queries))
    return (members @ known).astype(float), measured


@cache
def _lds_truth(models: int, queries: int) -> float:
    rng = np.random.default_rng(3)
    return float(np.mean([np.mean(rank_correlations(*_retrained(rng, models, queries))) for _ in range(1500)]))


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
        return within(mean_of_sets([losses(rng, count) * scale for scale in (0.5, 1.0, 3.0)], seed_of(rng)), 1.5)

    return draw


def mean_of_sets(sets: list[np.ndarray], seed: int) -> Estimate:
    from unweave.audit.verdict import joined_mean

    return joined_mean([list(own) for own in sets], seed=seed)


def conformal(rows: int, coverage: float) -> Callable[[Rng], bool]:
    return lambda rng: bool(abs(rng.standard_t(3)) <= conformal_width(np.abs(rng.standard_t(3, rows)), coverage))


def claims(rate: Callable[[Rng], bool], method: str, where: str, size: str, most: float, **more: int) -> Case:
    """A test in place of an interval: how often it does not claim what is not so."""
    return Case(method, where, size, lambda rng: not rate(rng), bounds=(1 - most, 1.0), **more)


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


STUDENT, BOOTSTRAP = "Student's", "expanded bootstrap over rows"
FOR_ROWS = "losses, KL, probabilities, ROUGE of rows"
DISCRETE = "a share of few rows takes few values: 0.95 on average over all shares, more or less at one"
CASES = [
    *(Case(STUDENT, FOR_ROWS, f"{n} rows", mean_loss(n)) for n in (4, 8, 16)),
    *(Case(BOOTSTRAP, FOR_ROWS, f"{n} rows", mean_loss(n), repetitions=300) for n in (20, 60)),
    Case(STUDENT, "perplexity", "12 rows", perplexity(12)),
    Case(BOOTSTRAP, "perplexity", "40 rows", perplexity(40), repetitions=0),
    Case(STUDENT, "paired change", "10 rows", paired_losses(10)),
    Case(BOOTSTRAP, "paired change, curves of valuing", "60 rows", paired_losses(60), repetitions=0),
    Case(STUDENT, "paired change of perplexity", "12 rows", relative_perplexity(12)),
    Case(BOOTSTRAP, "paired change of perplexity", "40 rows", relative_perplexity(40), repetitions=0),
    Case("Wilson's", "attack success, right answers", "24 rows, all shares", varied_share(24)),
    *(
        Case("Wilson's", "attack success, right answers", f"24 rows, {p:.0%}", counted(24, p), bounds=(0.9, 1.0), because=DISCRETE)
        for p in (0.05, 0.2, 0.5)
    ),
    Case(STUDENT, "share of unwanted samples", "16 prompts", sampled_share(16, 8)),
    Case(BOOTSTRAP, "share of unwanted samples", "40 prompts", sampled_share(40, 8), repetitions=0),
    Case("Newcombe's 10", "paired change of a share", "40 rows, 50 % and 30 %", paired_shares(40, 0.5, 0.3, 0.5)),
    Case("Newcombe's 10", "paired change of a share", "40 rows, 10 % and 5 %", paired_shares(40, 0.1, 0.05, 0.4), bounds=(0.92, 1.0), because=DISCRETE),
    Case("Newcombe's 5", "membership, AUC", "24 and 24 rows, 0.5", area(24, 24, 0.0)),
    Case("Newcombe's 5", "membership, AUC", "40 and 40 rows, 0.86", area(40, 40, 1.5), bounds=(0.92, 0.98), because="wide where the scores are normal"),
    Case("Newcombe's 5", "probe of the lens, AUC", "16 and 16 prompts, 0.8", probe_area(16, 1.7), bounds=(0.92, 0.98), repetitions=0,
 because="pairs share the probe's prompts"),
    *(
        Case("jackknife, Student's", f"{kind} of a mean score", f"{n} answers", mean_score(kind, n), repetitions=300 if n < 20 else 0)
        for kind in AREAS
        for n in (6, 20)
    ),
    Case(STUDENT, "auPRC of one answer", "10 answers", one_answer(10)),
    Case("two-way jackknife", "LDS", "20 models, 8 queries", datamodelling(20, 8), repetitions=60),
    Case("two-way jackknife", "LDS", "50 models, 40 queries", datamodelling(50, 40), repetitions=0),
    Case("two-way random effects", "(what the LDS rests on)", "20 models, 8 queries", two_samples(20, 8)),
    Case(STUDENT, "agreement of scores", "8 queries", over_queries(8)),
    *(Case(STUDENT, "means over seeds, LDS of the benchmark", f"{n} seeds", seeds(n)) for n in (2, 3, 10)),
    Case(STUDENT, "weights against controls", "3 seeds of 4 cells", control_seeds(3), repetitions=200),
    Case("joined (MOVER)", "KL from the retrained model", "3 sets of 24 rows", joined(24), repetitions=100),
    *(
        Case("split conformal", "predicted values", f"30 rows, {p:.0%}", conformal(30, p), p, (p - 0.01, p + 0.05), "its level at least, by construction")
        for p in (0.8, 0.9)
    ),
]  # fmt: skip
TESTS = [
    claims(at_the_margin("different", 25, 0.1), "different", "margin of 0.1 standard errors", "25 rows", 0.07, repetitions=150),
    claims(at_the_margin("different", 25, 1.0), "different", "margin of 1 standard error", "25 rows", 0.07, repetitions=150),
    claims(at_the_margin("different", 25, 4.0), "different", "margin of 4 standard errors", "25 rows", 0.07, repetitions=150),
    claims(at_the_margin("equivalent", 25, 4.0), "equivalent", "margin of 4 standard errors", "25 rows", 0.07, repetitions=150),
    claims(family(7), "Holm's", "seven comparisons", "none is so", 0.06),
    claims(areas_differ(40, 1.0), "membership differs", "two models, AUC 0.76", "40 and 40 rows", 0.06),
    claims(rows_rose(5, 40), "ledger: beyond chance", "changed as the others did", "5 of 45 rows", 0.05),
]  # fmt: skip
