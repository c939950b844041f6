"""Arrays in, arrays out: RapidUn's weights bit by bit against plain Python, and what does not fit is named."""

import itertools
import json
import math
import typing
from dataclasses import fields

import numpy as np
import pytest
import torch

import unweave as uw
from tests.weights import reference
from unweave.arguments import quoted
from unweave.attribution.formats.rapidin import read_influence_file
from unweave.errors import ConfigError, DataError
from unweave.jobs.weigh import weigh_rows
from unweave.weights.blocks import Blocks
from unweave.weights.config import MappingOptions, WeighConfig, WeightOptions
from unweave.weights.influence_files import block_of_entries
from unweave.weights.mapping import rapidun_weights
from unweave.weights.weighing import with_options

N_FORGET, N_RETAIN = 13, 18
SHAPES = {
    "ff": (N_FORGET, N_FORGET), "fr": (N_RETAIN, N_FORGET), "rf": (N_FORGET, N_RETAIN), "rr": (N_RETAIN, N_RETAIN),
}  # fmt: skip
OPTIONS = [
    dict(zip(("topk", "rank", "per_test_robust", "use_harmful"), values, strict=True))
    for values in itertools.product((40, 5, 1, None), (False, True), (False, True), (False, True))
]


def continuous(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 5, shape) for name, shape in SHAPES.items()}


def with_ties(seed):
    """Five levels, zeros of both signs among them."""
    rng = np.random.default_rng(seed)
    return {name: rng.choice([-1.5, -0.0, 0.0, 0.5, 2.0], shape) for name, shape in SHAPES.items()}


def far_apart(seed):
    """Values of very different size: scaled by their median some become equal that were not."""
    rng = np.random.default_rng(seed)
    return {name: rng.choice([1e-18, 2e-18, 3e-18, -1e-18, 1.0, 7.0], shape) for name, shape in SHAPES.items()}


MAKERS = [continuous, with_ties, far_apart]


def bits(values):
    return np.asarray(values, dtype=np.float64).tobytes()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_weights_of_matrices_are_those_of_plain_python_bit_by_bit(make, options):
    blocks = make(seed=1)
    lists = {name: reference.lists_of(own.tolist()) for name, own in blocks.items()}
    forget, retain = reference.rapidun(**lists, n_forget=N_FORGET, n_retain=N_RETAIN, **options)
    found = uw.weights.rapidun(**blocks, **options)
    assert bits(found.forget) == bits(forget)
    assert bits(found.retain) == bits(retain)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_weights_of_lists_are_those_of_plain_python_bit_by_bit(tmp_path, make, options):
    """As published files have them: cut lists, equal values in no order, an empty list, a row named twice, an index of no row."""
    rng = np.random.default_rng(2)
    blocks, lists = {}, {}
    for name, matrix in make(seed=3).items():
        queries = reference.lists_of(matrix.tolist())
        for query in queries:
            for kind, own in query.items():
                shuffled = [own[index] for index in rng.permutation(len(own))]
                query[kind] = sorted(shuffled, key=lambda pair: pair[1], reverse=kind == "helpful")[:9]
        queries[0] = {"helpful": [], "harmful": queries[0]["harmful"]}
        queries[1]["helpful"][1] = (queries[1]["helpful"][0][0], queries[1]["helpful"][1][1])
        queries[2]["helpful"][0] = (10**30, queries[2]["helpful"][0][1])
        path = tmp_path / f"{name}.json"
        path.write_text(
            json.dumps(
                {
                    str(number): {
                        key: value
                        for kind in query
                        for key, value in (
                            (kind, [row for row, _ in query[kind]]), (f"{kind}_infl", [own for _, own in query[kind]]),
                        )
                    }
                    for number, query in enumerate(queries)
                }
            )
        )  # fmt: skip
        lists[name] = queries
        blocks[name] = block_of_entries(read_influence_file(path), SHAPES[name][1])
    config = uw.weights.MappingConfig(alpha=0.7, beta_harm=1.3, **options)
    factors = {"alpha": 0.7, "beta_harm": 1.3}
    expected = reference.rapidun(**lists, n_forget=N_FORGET, n_retain=N_RETAIN, **factors, **options)
    assert [bits(own) for own in rapidun_weights(Blocks(**blocks), config)] == [bits(own) for own in expected]


def test_float32_and_tensors_give_the_same_bits():
    blocks = {name: own.astype(np.float32) for name, own in continuous(4).items()}
    expected = uw.weights.rapidun(**{name: own.astype(np.float64) for name, own in blocks.items()})
    for convert in (
        lambda own: own,
        torch.tensor,
        lambda own: torch.tensor(own, requires_grad=True).double(),
        np.ndarray.tolist,
    ):
        found = uw.weights.rapidun(**{name: convert(own) for name, own in blocks.items()})
        assert (bits(found.forget), bits(found.retain)) == (bits(expected.forget), bits(expected.retain))


def test_weights_from_matrices_and_from_files_are_the_same(tmp_path):
    blocks = continuous(5)
    files = {}
    # RapidUn's files are named by their rows first, as the blocks are.
    for file, name in {"f2f": "ff", "f2r": "fr", "r2f": "rf", "r2r": "rr"}.items():
        files[file] = tmp_path / f"{file}.json"
        entries = reference.lists_of(blocks[name].tolist())
        files[file].write_text(
            json.dumps(
                {
                    str(number): {
                        **{kind: [row for row, _ in own[kind]] for kind in own},
                        **{f"{kind}_infl": [value for _, value in own[kind]] for kind in own},
                    }
                    for number, own in enumerate(entries)
                }
            )
        )
    paths = {"output_forget": tmp_path / "wf", "output_retain": tmp_path / "wr"}
    for method in ("rapidun", "rapidun-dense", "random", "uniform"):
        written = weigh_rows(WeighConfig(**files, **paths, method=method))
        found = uw.weights.from_influence(**blocks, method=method)
        assert bits(found.forget) == bits(written.forget)
        assert bits(found.retain) == bits(written.retain)


def test_what_comes_back_is_frozen():
    found = uw.weights.rapidun(**continuous(6))
    assert found.forget.dtype == found.retain.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        found.forget[0] = 2.0
    assert found.summary.forget.count == N_FORGET
    assert found.summary.retain.count == N_RETAIN
    dense = uw.weights.rapidun(**continuous(6), topk=None)
    assert bits(dense.forget) == bits(uw.weights.from_influence(**continuous(6), method="rapidun-dense").forget)
    assert bits(dense.forget) != bits(uw.weights.rapidun(**continuous(6), topk=3).forget)


@pytest.mark.parametrize("name", ["fr", "rf"])
def test_a_matrix_that_does_not_fit_is_named(name):
    blocks = continuous(7)
    blocks[name] = blocks[name].T
    with pytest.raises(DataError, match=f"{name} has the shape") as raised:
        uw.weights.rapidun(**blocks)
    assert raised.value.where == quoted(name)
    assert str(list(SHAPES[name])) in str(raised.value)


def test_swapped_blocks_are_recognised():
    blocks = continuous(8)
    blocks["fr"], blocks["rf"] = blocks["rf"], blocks["fr"]
    with pytest.raises(DataError, match="swap fr and rf"):
        uw.weights.rapidun(**blocks)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(3), r"shape \[3\]"),
        (np.zeros((0, 3)), r"shape \[0, 3\]"),
        (np.full((2, 2), np.nan), "4 numbers that are not finite"),
        ([["a"]], "no matrix of numbers"),
        ([[1.0], [1.0, 2.0]], "no matrix of numbers"),
        (np.ones((2, 2), dtype=complex), "no matrix of numbers"),
        (None, "no matrix of numbers"),
    ],
)
def test_what_is_no_matrix_is_named(name, value, message):
    with pytest.raises(DataError, match=message) as raised:
        uw.weights.rapidun(**{**continuous(9), name: value})
    assert raised.value.where == quoted(name)


def test_options_that_can_not_be_or_do_not_count_are_named():
    blocks = continuous(10)
    with pytest.raises(ConfigError, match="topk can't be 0"):
        uw.weights.rapidun(**blocks, topk=0)
    with pytest.raises(ConfigError, match="signed_ridge is no option of rapidun weights"):
        uw.weights.rapidun(**blocks, signed_ridge=2.0)
    with pytest.raises(ConfigError, match="did you mean 'topk'") as raised:
        uw.weights.rapidun(**blocks, top_k=3)
    assert raised.value.where == "`top_k`"
    for method, option in {"rapidun-dense": "topk", "uniform": "seed", "signed": "tau_f"}.items():
        with pytest.raises(ConfigError, match=f"{option} is no option of {method} weights"):
            uw.weights.from_influence(**blocks, method=method, **{option: 1})
    with pytest.raises(ConfigError, match="influence holds none"):
        uw.weights.from_influence(**blocks, method="loreun")
    with pytest.raises(ConfigError, match="no weights 'rapid'"):
        with_options(uw.weights.WeightConfig(), {}, "rapid")


def test_a_config_and_keywords_are_the_same_options():
    blocks = continuous(11)
    config = uw.weights.MappingConfig(topk=3, tau_f=0.5)
    assert bits(uw.weights.rapidun(**blocks, config=config).forget) == bits(
        uw.weights.rapidun(**blocks, topk=3, tau_f=0.5).forget
    )
    assert bits(uw.weights.rapidun(**blocks, config=config, topk=5).forget) == bits(
        uw.weights.rapidun(**blocks, topk=5, tau_f=0.5).forget
    )


@pytest.mark.parametrize(
    ("config", "options"),
    [(uw.weights.MappingConfig, MappingOptions), (uw.weights.WeightConfig, WeightOptions)],
)
def test_the_keywords_are_those_of_the_config(config, options):
    assert typing.get_type_hints(options) == {field.name: field.type for field in fields(config)}


def test_loreun_of_losses():
    losses = [0.1, 0.5, 1.0, 2.0]
    raw = [math.exp(-loss / 0.8) for loss in losses]
    raw = [value / (sum(raw) / 4) for value in raw]
    clipped = [min(max(value, 0.5), 3.0) for value in raw]
    expected = [value / (sum(clipped) / 4) for value in clipped]
    for given in (losses, np.array(losses), torch.tensor(losses, dtype=torch.float64, requires_grad=True)):
        assert uw.weights.loreun(given) == pytest.approx(np.array(expected), rel=1e-14)
    assert (np.diff(uw.weights.loreun(losses, direction="easy-high", wmin=0.1)) > 0).all()
    with pytest.raises(ConfigError, match="loreun_tau"):
        uw.weights.loreun(losses, tau=0.0)
    for wrong in ([], [math.nan], [[0.1]], "losses", None):
        with pytest.raises(DataError, match="losses"):
            uw.weights.loreun(wrong)


def test_controls():
    weights = uw.weights.rapidun(**continuous(12)).retain
    permuted = uw.weights.random(weights, seed=1)
    assert sorted(permuted) == sorted(weights)
    assert bits(permuted) != bits(weights)
    assert bits(permuted) == bits(uw.weights.random(weights, seed=1)) != bits(uw.weights.random(weights, seed=2))
    assert uw.weights.uniform(3).tolist() == [1.0] * 3
    for wrong in ([0.0, 0.0], [math.inf, 1.0], []):
        with pytest.raises(DataError, match="forget weights"):
            uw.weights.RowWeights(np.array(wrong), weights)
