"""Sketches: unbiased, with the documented variance; the replay of RapidGrad equals the original's shuffles."""

import numpy as np
import pytest
import torch

from unweave.errors import ConfigError
from unweave.sketch.config import SketchConfig
from unweave.sketch.fold import Fold, fold_matrix
from unweave.sketch.hashing import hash_words, signs, tensor_key
from unweave.sketch.make import make_sketch
from unweave.sketch.rapidgrad import RapidGrad, prime_factors, replay

SIZES = {"a": 100, "b": 37, "c": 300}
DIMENSION = 64


def sketch_of(sketch, tensors, scale=None):
    batch = len(next(iter(tensors.values())))
    out = torch.zeros(batch, sketch.dimension)
    for name, piece in tensors.items():
        sketch.add(out, name, piece, torch.ones(batch) if scale is None else scale[name])
    return out


def random_tensors(seed, batch=2, kind="dense"):
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(batch, size, generator=generator) for name, size in SIZES.items()}
    if kind == "block":  # all weight on one run of neighbours, which row shuffles of the original do not spread
        for piece in tensors.values():
            piece[:, 16:] *= 0.01
    if kind == "column":  # every eighth coordinate
        for piece in tensors.values():
            piece[:, torch.arange(piece.shape[1]) % 8 != 0] *= 0.01
    if kind == "heavy":
        for piece in tensors.values():
            piece.pow_(5)
    return tensors


def concatenated(tensors):
    return torch.cat(list(tensors.values()), dim=1)


def fold_variance(x, y):
    """The documented variance, summed over pairs i != j that do not lie in one chunk."""
    group = torch.cat([torch.arange(size) // DIMENSION + 1000 * number for number, size in enumerate(SIZES.values())])
    apart = group[:, None] != group[None, :]
    products = x * y
    pairs = (x.square()[:, None] * y.square()[None, :] + products[:, None] * products[None, :])[apart]
    return pairs.sum() / DIMENSION


@pytest.mark.parametrize("kind", ["dense", "block", "column", "heavy"])
def test_fold_is_unbiased_with_its_documented_variance(kind):
    tensors = random_tensors(1, kind=kind)
    x, y = concatenated(tensors).double()
    runs = 1000
    estimates = torch.stack(
        [(lambda s: s[0] @ s[1])(sketch_of(Fold(DIMENSION, seed), tensors)) for seed in range(runs)]
    ).double()
    variance = fold_variance(x, y)
    assert abs(estimates.mean() - x @ y) < 4 * (variance / runs).sqrt()
    # The standard error of a sample variance is about sqrt(2 / n) of it, more for heavy tails: 4 of them, and a factor for kurtosis.
    fourth = ((estimates - x @ y) ** 4).mean() / variance**2
    assert abs(estimates.var() / variance - 1) < 4 * ((fourth - 1).clamp(min=2) / runs).sqrt()


def test_fold_has_twice_oporps_variance_where_two_chunks_meet():
    # D = 2 K: OPORP's bins of equal size let a pair meet with the chance (D - K) / (D - 1) / K, fold's any pair of the two chunks with 1 / K.
    size = 32
    x = torch.zeros(1, 2 * size)
    x[0, 5] = x[0, size + 9] = 1.0
    found = torch.stack([sketch_of(Fold(size, seed), {"a": x})[0].square().sum() for seed in range(1000)]).var()
    oporp = (2 * size - size) / (2 * size - 1) / size * (2 * x.square().sum() ** 2 - 2 * x.pow(4).sum())
    assert 1.5 < (found / oporp).item() < 2.5


def test_fold_norm_ratio_has_its_theoretical_spread():
    tensors = random_tensors(3, kind="block")
    x = concatenated(tensors)[0].double()
    ratios = (
        torch.stack([sketch_of(Fold(DIMENSION, seed), tensors)[0].square().sum() for seed in range(800)])
        / x.square().sum()
    )
    theory = fold_variance(x, x).sqrt() / x.square().sum()
    assert ratios.double().std() == pytest.approx(float(theory), rel=0.12)


def test_fold_is_the_formula_of_its_docstring():
    sketch = Fold(DIMENSION, seed=5)
    matrix = fold_matrix(sketch, SIZES)
    assert matrix.shape == (DIMENSION, sum(SIZES.values()))
    assert ((matrix != 0).sum(dim=0) == 1).all()
    assert set(matrix[matrix != 0].tolist()) == {1.0, -1.0}
    start = 0
    for size in SIZES.values():  # two coordinates of one chunk never meet
        for chunk in range(start, start + size, DIMENSION):
            rows = matrix[:, chunk : min(chunk + DIMENSION, start + size)].abs().argmax(dim=0)
            assert len(set(rows.tolist())) == len(rows)
            assert ((rows - rows[0]) % DIMENSION == torch.arange(len(rows))).all()
        start += size
    tensors = random_tensors(9)
    torch.testing.assert_close(sketch_of(sketch, tensors), concatenated(tensors) @ matrix.T)


def test_fold_is_linear_and_takes_tensors_in_any_order():
    sketch = Fold(DIMENSION, seed=1)
    tensors = random_tensors(4)
    reversed_order = dict(reversed(tensors.items()))
    torch.testing.assert_close(sketch_of(sketch, tensors), sketch_of(sketch, reversed_order))
    halves = {name: torch.full((2,), 0.5) for name in tensors}
    torch.testing.assert_close(sketch_of(sketch, tensors, halves), 0.5 * sketch_of(sketch, tensors))


def test_signs_and_seeds_are_independent():
    first, second = signs(tensor_key(0, "a"), 0, 4096), signs(tensor_key(1, "a"), 0, 4096)
    assert abs(float(first.mean())) < 4 / 64
    assert abs(float((first * second).mean())) < 4 / 64
    assert torch.equal(signs(tensor_key(0, "a"), 64, 32), first[64:96])


def test_hash_is_the_murmur_finalizer():
    def mix(word):
        word ^= word >> 16
        word = word * 0x85EBCA6B & 0xFFFFFFFF
        word ^= word >> 13
        word = word * 0xC2B2AE35 & 0xFFFFFFFF
        return word ^ word >> 16

    key = tensor_key(3, "layer.weight")
    counters = [0, 1, 31, 12345, 2**31, 2**32 - 1]
    expected = [mix((mix(counter ^ key) + 0x9E3779B9 + key) & 0xFFFFFFFF) for counter in counters]
    assert hash_words(key, torch.tensor(counters)).tolist() == expected


@pytest.mark.parametrize("length", [2**10, 2**8 * 15, 7 * 3 * 64])
def test_rapidgrad_replay_equals_the_shuffles(length):
    """The published procedure, step by step on the vector itself."""
    dimension, shuffles, seed = 32 if length % 32 == 0 else 64, 40, 42
    vector = np.random.default_rng(0).normal(size=length)
    rng = np.random.RandomState(seed)
    random_signs = rng.randint(0, 2, (length,), dtype=np.int8).astype(np.float64)
    random_signs[random_signs == 0] = -1
    factors = prime_factors(length)
    shuffled = vector.copy()
    for turn in range(shuffles):
        count = rng.randint(len(factors) // 4, len(factors) // 2 + 1)
        rng.shuffle(factors)
        size = int(np.prod(factors[:count], dtype=np.int64))
        permutation = rng.permutation(size)
        shuffled = (
            shuffled.reshape(size, -1)[permutation, :] if turn % 2 == 0 else shuffled.reshape(-1, size)[:, permutation]
        )
        shuffled = shuffled.reshape(-1)
    expected = (shuffled * random_signs).reshape(-1, length // dimension).sum(axis=1)

    bins, replayed_signs = replay(length, dimension, seed=seed, shuffles=shuffles)
    ours = np.zeros(dimension)
    np.add.at(ours, bins, vector * replayed_signs)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_rapidgrad_concatenates_and_pads():
    sketch = RapidGrad.for_sizes(SIZES, dimension=DIMENSION, padding=1024)
    tensors = random_tensors(2)
    bins, replayed_signs = replay(1024, DIMENSION, seed=42)
    expected = torch.zeros(2, DIMENSION)
    vector = torch.nn.functional.pad(concatenated(tensors), (0, 1024 - sum(SIZES.values())))
    expected.index_add_(1, torch.from_numpy(bins).long(), vector * torch.from_numpy(replayed_signs))
    torch.testing.assert_close(sketch_of(sketch, tensors), expected)


def test_rapidgrad_is_unbiased():
    tensors = random_tensors(6)
    x, y = concatenated(tensors).double()
    runs = 400
    estimates = torch.stack(
        [
            (lambda s: s[0] @ s[1])(
                sketch_of(RapidGrad.for_sizes(SIZES, dimension=DIMENSION, seed=seed, padding=512), tensors)
            )
            for seed in range(runs)
        ]
    ).double()
    assert abs(estimates.mean() - x @ y) < 4 * estimates.std() / runs**0.5


def test_identity_is_the_concatenated_gradient():
    sketch = make_sketch(SketchConfig(sketch="none"), {name: (size,) for name, size in SIZES.items()})
    tensors = random_tensors(2)
    assert sketch.dimension == sum(SIZES.values())
    torch.testing.assert_close(sketch_of(sketch, tensors), concatenated(tensors))


def test_impossible_dimensions_are_refused():
    with pytest.raises(ConfigError, match="multiple of 32"):
        Fold(100)
    with pytest.raises(ConfigError, match="divide"):
        RapidGrad.for_sizes(SIZES, dimension=1000, padding=1024)
