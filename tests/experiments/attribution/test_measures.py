"""Each measure against a world whose truth is known: scores that know it get the best value, reversed ones the worst, random ones chance."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from unweave.data.rows import Row
from unweave.evaluation.tracing import area_of_mean
from unweave.experiments.attribution.bench import measure_of
from unweave.experiments.attribution.measure import Measure
from unweave.experiments.attribution.measures.planted import trapezoid
from unweave.experiments.attribution.measures.rankings import chance_of_rows, ranks
from unweave.experiments.attribution.registry import MEASURES
from unweave.experiments.attribution.scene import Scene
from unweave.stats.ranking import average_precision

ROWS, QUERIES, RIGHT = 200, 8, 4


@dataclass
class Known:
    """Losses that are sums of the effects of the rows that were kept, with noise; each query has some rows with a large one."""

    noise: float = 0.05
    top_k: int = 10
    seed: int = 0
    scene: Scene = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        rows = [Row(f"r{place}", "a", "b") for place in range(ROWS)]
        own = [rng.choice(ROWS, RIGHT, replace=False) for _ in range(QUERIES)]
        self.effects = 0.05 * rng.normal(size=(QUERIES, ROWS))
        for query, places in enumerate(own):
            self.effects[query, places] += 2.0
        relevant = [frozenset(f"r{place}" for place in places) for places in own]
        about = [f"q{query}" for query in range(QUERIES)]
        self.scene = Scene(rows, rows[:QUERIES], relevant, frozenset().union(*relevant), about)
        self.rng, self.kept = rng, {}

    def _losses(self, without):
        key = tuple(sorted(without))
        if key not in self.kept:
            keep = np.setdiff1d(np.arange(ROWS), key)
            self.kept[key] = 3 - self.effects[:, keep].sum(axis=1) + self.noise * self.rng.normal(size=QUERIES)
        return self.kept[key]

    def halves(self):
        rng = np.random.default_rng(1)
        return [sorted(rng.choice(ROWS, ROWS // 2, replace=False).tolist()) for _ in range(40)]

    def half_losses(self):
        every = set(range(ROWS))
        once = np.stack([self._losses(every - set(half)) for half in self.halves()])
        return np.stack([once, once + self.noise * self.rng.normal(size=once.shape)])

    def losses_without(self, places):
        return self._losses(places)

    def retrain_queries(self):
        return range(QUERIES)

    def removed_shares(self):
        return [0.01, 0.02, 0.05]

    def random_draws(self, count):
        rng = np.random.default_rng(count)
        return [rng.choice(ROWS, count, replace=False).tolist() for _ in range(6)]

    def patched(self):
        return self.effects / 10

    def varied(self, scorer, variation):
        rng = np.random.default_rng(len(variation))
        if scorer == "oracle":
            return rng.normal(size=(QUERIES, ROWS)) if variation == "randomised" else self.effects * 3
        # What looks at nothing gives the same for any model, and other numbers at each look.
        return self.effects if variation == "randomised" else rng.normal(size=(QUERIES, ROWS))


def truth(measure, world):
    if measure.scene in ("backdoor", "swapped", "toxicity"):
        return np.array([world.scene.places(world.scene.planted)] * QUERIES) + 0.01 * world.effects
    if measure.of_itself:
        return np.array([world.scene.places(world.scene.planted)], dtype=float) + 0.01 * world.effects[:1]
    return world.effects


def random_scores(measure, number):
    return np.random.default_rng(100 + number).normal(size=(1 if measure.of_itself else QUERIES, ROWS))


RANKED = [name for name in MEASURES if name != "sanity"]


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_one(name):
    measure = measure_of(name)
    assert isinstance(measure, Measure)
    assert measure.name == name
    assert len({figure.name for figure in measure.figures}) == len(measure.figures)


@pytest.mark.parametrize("name", RANKED)
def test_truth_is_best_its_reverse_worst_and_chance_between(name):
    measure, world = measure_of(name), Known()
    scores = truth(measure, world)
    best, worst, chance = (measure(world, own, "x").figures for own in (scores, -scores, random_scores(measure, 0)))
    for figure in measure.figures:
        assert best[figure.name].value > chance[figure.name].value >= worst[figure.name].value - 0.02, figure.name
        low, high = best[figure.name].low, best[figure.name].high
        assert not low > best[figure.name].value, figure.name
        assert not high < best[figure.name].value, figure.name
    main = best[measure.figures[0].name].value
    if measure.figures[0].high == 1:
        assert main > 0.9
        assert worst[measure.figures[0].name].value < (-0.9 if name == "lds" else 0.3)


@pytest.mark.parametrize("name", RANKED)
def test_random_scores_reach_chance_and_no_more(name):
    """Over many draws, by the interval over them; average precision of few rows lies a little above the share of these."""
    measure, world = measure_of(name), Known()
    figure = measure.figures[0].name
    found = np.array(
        [measure(world, random_scores(measure, number), "x").figures[figure].value for number in range(40)]
    )
    references = measure.references(world)
    expected = references["chance"].figures[figure].value if "chance" in references else 0.0
    error = 3.5 * found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - expected) < error + (0.03 if figure == "auprc" else 0.0), (found.mean(), expected, error)


def test_intervals_of_retraining_hold_what_no_noise_would_show():
    measure, world = measure_of("qld"), Known(noise=0.3)
    own = measure(world, world.effects, "x").figures["qld"]
    exact = measure(Known(noise=0.0), world.effects, "x").figures["qld"]
    assert own.low < exact.value < own.high
    assert own.high - own.low > exact.high - exact.low
    lost = measure(world, random_scores(measure, 1), "x").figures["qld"]
    assert lost.low < 0 < lost.high


def test_the_ceiling_of_lds_is_what_one_order_says_of_another():
    loud, quiet = Known(noise=3.0), Known(noise=0.05)
    ceilings = [measure_of("lds").references(world)["another order"].figures["lds"].value for world in (loud, quiet)]
    assert ceilings[0] < 0.9 < 0.99 < ceilings[1]


def test_the_curve_of_removal_rises_and_stands_above_random_rows():
    values = measure_of("removal")(world := Known(), world.effects, "x").values
    assert values["shares"] == world.removed_shares()
    assert values["found"] == sorted(values["found"])
    assert all(found > random + 1 for found, random in zip(values["found"], values["random"], strict=True))


def test_sanity_of_scores_that_follow_the_model_and_of_some_that_do_not():
    measure, world = measure_of("sanity"), Known()
    good, bad = (measure(world, world.effects, scorer).figures for scorer in ("oracle", "other"))
    assert abs(good["randomised"].value) < 0.1 < 0.9 < bad["randomised"].value
    for name in ("batch", "seed", "order"):
        assert good[name].value == pytest.approx(1)
        assert abs(bad[name].value) < 0.1
    same = np.tile(world.effects[:1], (QUERIES, 1))
    assert measure(world, same, "oracle").figures["overlap"].value == 1
    assert good["overlap"].value < 0.3


def test_ranks_and_the_chance_of_rows_are_those_of_counting():
    assert ranks(np.array([0.1, 3.0, 2.0])).tolist() == [3, 1, 2]
    world = Known()
    own = chance_of_rows(world, 10).figures
    rng = np.random.default_rng(0)
    first = [rng.permutation(ROWS)[:RIGHT].min() + 1 for _ in range(20_000)]
    assert own["mrr"].value == pytest.approx(np.mean(1 / np.array(first)), rel=0.03)
    assert own["recall"].value == 10 / ROWS


def test_the_area_of_date_lm_is_that_of_trapezoids():
    """Worked out by hand: right, wrong, right gives recalls 0, 1/2, 1/2, 1 and precisions 1, 1, 1/2, 2/3."""
    assert trapezoid([True, False, True], [3.0, 2.0, 1.0]) == pytest.approx(0.5 + 0.5 * (0.5 + 2 / 3) / 2)
    assert np.isnan(trapezoid([False, False], [1.0, 2.0]))
    table, relevant = np.random.default_rng(0).normal(size=(6, 30)), [place < 6 for place in range(30)]
    other = area_of_mean(average_precision, relevant, table)
    assert abs(area_of_mean(trapezoid, relevant, table).value - other.value) < 0.1
