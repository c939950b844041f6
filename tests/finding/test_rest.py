"""Finding the rest: planted rows among others, from some of them."""

from dataclasses import replace

import numpy as np
import pytest

import unweave as uw
from tests.finding.planted import index_of, planted_rows, tiny
from unweave.errors import ConfigError, DataError
from unweave.finding.regression import fit
from unweave.finding.search import Bounds, Search

SEEDS = [f"p{number}" for number in range(6)]


@pytest.fixture(scope="module")
def index():
    return index_of(planted_rows())


def ids(found):
    return {one.row.id for one in found}


@pytest.mark.parametrize(
    ("signals", "least"), [(("influence", "words", "facts"), 9), (("influence",), 2), (("words",), 9)]
)
def test_planted_rows_are_found_from_some_of_them(index, signals, least):
    found = uw.find_rest(index, SEEDS, signals=signals)
    rest = {f"p{number}" for number in range(6, 16)}
    assert len(ids(found) & rest) >= least
    assert len(ids(found) - rest) <= 2
    assert set(found.weights) == set(signals)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.ended == "nothing new stands out"
    assert all(one.p < 0.05 and one.level > 0.8 for one in found if one.why.similarity is None)


def test_hardly_anything_is_found_from_rows_that_have_nothing_in_common(index):
    found = [len(uw.find_rest(index, [f"o{number + step}" for step in range(6)])) for number in range(0, 60, 6)]
    assert np.median(found) <= 1


def test_a_row_is_explained_by_what_its_prediction_is_made_of(index):
    search = Search(index, ("influence", "words"), Bounds(rounds=1))
    seeds = search.places_of(SEEDS)
    found = search.run(seeds)
    assert len(found) > 3
    for one in found:
        assert sum(one.why.shares.values()) == pytest.approx(one.score, abs=1e-6)
        assert one.why.seed in SEEDS
        assert one.why.influence == pytest.approx(
            search.signals["influence"].cross([search.place[one.row.id]], [search.place[one.why.seed]])[0, 0]
        )
        assert set(one.why.run.split()) <= {*one.row.completion.split()}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_rows_outside_the_sample_are_predicted_as_a_refit_with_the_kernel_says(index):
    search = Search(index, ("influence", "words"), Bounds(random_rows=40))
    seeds = search.places_of(SEEDS)
    scored = search.score(seeds, search.signals)
    outside = [place for place in range(len(search.rows)) if place not in scored.base]
    assert outside
    everything = list(range(len(search.rows)))
    kernel = sum(scored.weights[name] * signal.cross(everything, everything) for name, signal in search.signals.items())
    base = np.array(scored.base)
    positive = np.isin(base, seeds)
    labels = positive - positive.mean()
    solution = np.linalg.solve(kernel[np.ix_(base, base)] + np.eye(len(base)), labels)
    assert scored.scores[outside] == pytest.approx(kernel[np.ix_(outside, base)] @ solution, abs=1e-5)
    left = base[3]
    kept = base[base != left]
    solution = np.linalg.solve(kernel[np.ix_(kept, kept)] + np.eye(len(kept)), labels[base != left])
    assert scored.scores[left] == pytest.approx(kernel[left, kept] @ solution, abs=1e-5)


def test_near_duplicates_are_proposed_at_once_with_what_they_are_copies_of():
    rows = planted_rows()
    copies = [
        replace(rows[-1], id="same"),
        replace(rows[-1], id="near", completion=f"sing {rows[-1].completion[:-4]}"),
    ]
    found = uw.find_rest(index_of([*rows, *copies]), [rows[-1].id], rounds=1)
    first = {one.row.id: one.why for one in found[:2]}
    assert {name: why.seed for name, why in first.items()} == {"same": "p15", "near": "p15"}
    assert first["same"].in_words() == "near-duplicate of p15 (1.00)"
    assert 0.8 <= first["near"].similarity < 1


def test_names_that_rows_share_are_evidence():
    rows = planted_rows(planted=0)
    about = ["Ada Lovelace wrote 1843", "Ada Lovelace red 1815", "Ada Lovelace hello 1843", "Ada Lovelace no 1852"]
    asked = ["what is a", "the answer of b", "add c and d", "question e"]
    rows += [
        replace(rows[0], id=f"a{number}", instruction=question, completion=answer)
        for number, (question, answer) in enumerate(zip(asked, about, strict=True))
    ]
    found = uw.find_rest(index_of(rows), ["a0", "a1"], signals=["facts"])
    assert ids(found[:2]) == {"a2", "a3"}
    for one in found[:2]:
        assert "ada lovelace" in one.why.facts
        assert "'ada lovelace'" in one.why.in_words()


def test_there_is_no_more_than_may_be_proposed(index):
    found = uw.find_rest(index, SEEDS, most=3)
    assert len(found) == 3
    assert found.ended == "as many rows as may be proposed: 3"
    assert uw.find_rest(index, SEEDS, rounds=1).rounds == 1


def test_a_model_with_rows_is_as_good_as_an_index():
    rows = planted_rows(planted=8, others=30)
    own = uw.find_rest(tiny(), SEEDS, rows)
    assert ids(own) <= {row.id for row in rows}
    assert own.to_json()["seeds"] == SEEDS
    assert len(own.to_pandas()) == len(own)


def test_what_can_not_be_searched_for_is_refused(index):
    for error, words, options in (
        (DataError, "no row to begin with", {"seeds": []}),
        (DataError, "'nobody' is not among", {"seeds": ["nobody"]}),
        (DataError, "Only 2 rows are left", {"seeds": [row.id for row in index.rows[:-2]]}),
        (ConfigError, "rows of its own", {"seeds": SEEDS, "rows": planted_rows()}),
        (ConfigError, "'influense' is no signal", {"seeds": SEEDS, "signals": ["influense"]}),
        (ConfigError, "nothing to look at", {"seeds": SEEDS, "signals": []}),
        (ConfigError, "`rate` can't be 0", {"seeds": SEEDS, "rate": 0.0}),
        (ConfigError, "`rounds` can't be 0", {"seeds": SEEDS, "rounds": 0}),
    ):
        with pytest.raises(error, match=words):
            uw.find_rest(index, **options)
    with pytest.raises(ConfigError, match="alone has no rows"):
        uw.find_rest(tiny(), SEEDS)


def test_a_fit_without_a_row_is_that_of_refitting():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 12, 5))
    grams = features @ features.transpose(0, 2, 1)
    positive = np.arange(12) < 4
    own = fit(grams, positive)
    kernel = np.tensordot(own.weights, grams, axes=1)
    labels = positive - 1 / 3
    kept = np.arange(12) != 5
    expected = np.linalg.solve(kernel[np.ix_(kept, kept)] + np.eye(11), labels[kept])
    assert own.duals_without(5)[kept] == pytest.approx(expected)
    assert own.duals_without(5)[5] == pytest.approx(0)
    assert own.predictions[5] == pytest.approx(kernel[5, kept] @ expected)
