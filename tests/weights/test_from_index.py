"""Weights of an index's rows."""

import numpy as np
import pytest
import torch

import unweave as uw
from tests.notebook import in_memory, write_files
from unweave.errors import ConfigError, DataError, StoreError


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return in_memory(write_files(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def index(own):
    return uw.GradientIndex.build(own["model"], own["rows"], dimension=4096)


@pytest.mark.parametrize("method", ["rapidun", "rapidun-dense", "signed", "random"])
def test_they_are_those_of_the_influence_among_the_rows(own, index, method):
    sides = {"f": own["forget"], "r": own["retain"]}
    blocks = {
        rows + queries: index.influence_matrix(queries=sides[queries], rows=sides[rows])
        for rows in sides
        for queries in sides
    }
    found = uw.weights.from_index(index, own["forget"], own["retain"], method=method)
    expected = uw.weights.from_influence(**blocks, method=method)
    # The four products have other shapes than the one, and may round otherwise.
    assert found.forget == pytest.approx(expected.forget, rel=1e-4)
    assert found.retain == pytest.approx(expected.retain, rel=1e-4)
    assert len(found.retain) == 6


def test_queries_and_rows_are_not_confused(index, own):
    """What decides a forget row's weight are the first letter's rows: seen where sketches are orthogonal but for one pair."""
    sketches = torch.eye(4)
    sketches[1, 2] = 3.0
    gram = (sketches @ sketches.T).numpy()
    found = uw.weights.rapidun(ff=gram[:2, :2], fr=gram[2:, :2], rf=gram[:2, 2:], rr=gram[2:, 2:], topk=None)
    # S_f = median over F of FF - median over R of FR = [0.5, 5.0] - [0.0, 1.5].
    assert found.forget[1] > found.forget[0]
    assert len(found.forget) == 2


def test_loreun_takes_the_losses_of_the_index(own, index):
    found = uw.weights.from_index(index, own["forget"], own["retain"], method="loreun", loreun_tau=2.0)
    losses = index.store.column("losses", [row.id for row in own["forget"]])
    assert found.forget.tolist() == uw.weights.loreun(losses, tau=2.0).tolist()
    assert found.retain.tolist() == [1.0] * 6


def test_rows_by_their_ids_or_as_anything_that_is_read(own, index):
    expected = uw.weights.from_index(index, own["forget"], own["retain"])
    ids = [[row.id for row in own[name]] for name in ("forget", "retain")]
    records = [
        {"id": row.id, "instruction": row.instruction, "context": row.context, "response": row.completion}
        for row in own["forget"]
    ]
    for forget, retain in (ids, (records, ids[1])):
        found = uw.weights.from_index(index, forget, retain)
        assert np.array_equal(found.forget, expected.forget)
        assert np.array_equal(found.retain, expected.retain)


def test_rows_that_can_not_be_weighed_are_named(own, index):
    forget, retain = own["forget"], own["retain"]
    with pytest.raises(DataError, match="'r6' is to be forgotten and retained"):
        uw.weights.from_index(index, forget, own["rows"])
    with pytest.raises(DataError, match="'r6' is given twice"):
        uw.weights.from_index(index, ["r6", "r7", "r6"], retain)
    with pytest.raises(StoreError, match="not in the store, such as 'nobody'"):
        uw.weights.from_index(index, ["nobody"], retain)
    with pytest.raises(StoreError, match="'r6' has changed since it was cached"):
        uw.weights.from_index(index, [{"id": "r6", "prompt": "another", "completion": "text"}], retain)
    with pytest.raises(ConfigError, match="loreun_tau is no option of rapidun weights"):
        uw.weights.from_index(index, forget, retain, loreun_tau=1.0)
    with pytest.raises(DataError, match="too few for signed weights"):
        uw.weights.from_index(index, forget[:1], retain, method="signed")
