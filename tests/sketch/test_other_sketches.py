"""The sketches beside fold and rapidgrad: unbiased, with their documented variance, equal from factors and from products."""

import pytest
import torch

from unweave.errors import ConfigError
from unweave.registry import entry
from unweave.sketch.base import FactorSketch
from unweave.sketch.gaussian import Gaussian
from unweave.sketch.kronecker import Kronecker
from unweave.sketch.oporp import Oporp
from unweave.sketch.registry import SKETCHES
from unweave.sketch.tensorsketch import TensorSketch

SHAPES = {"a": (10, 12), "b": (37,), "c": (20, 16)}
SIZES = {"a": 120, "b": 37, "c": 320}
TOTAL = 477


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, size, generator=generator) for name, size in SIZES.items()}


def sketched(sketch, pieces):
    out = torch.zeros(2, sketch.dimension)
    for name, piece in pieces.items():
        sketch.add(out, name, piece, torch.ones(2))
    return out


def estimates(kind, dimension, pieces, runs):
    sketch_type = entry(SKETCHES, kind, option="sketch")
    made = (sketch_type.for_sizes(SIZES, dimension=dimension, seed=seed, shapes=SHAPES) for seed in range(runs))
    return torch.stack([(lambda s: s[0] @ s[1])(sketched(sketch, pieces)) for sketch in made]).double()


def variance(kind, x, y, dimension):
    norms = x.square().sum() * y.square().sum() + (x @ y) ** 2
    if kind == "gaussian":
        return norms / dimension
    padded = -(-TOTAL // dimension) * dimension
    return (padded - dimension) / (padded - 1) / dimension * (norms - 2 * (x * y).square().sum())


@pytest.mark.parametrize("kind", ["oporp", "gaussian"])
def test_variance_is_the_documented_one(kind):
    pieces = tensors(3)
    x, y = torch.cat(list(pieces.values()), dim=1).double()
    runs = 1500
    found, expected = estimates(kind, 64, pieces, runs), variance(kind, x, y, 64)
    assert abs(found.mean() - x @ y) < 4 * (expected / runs).sqrt()
    assert found.var() / expected == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("kind", ["tensorsketch", "kronecker"])
def test_estimates_converge_to_the_inner_product(kind):
    pieces = tensors(5)
    x, y = torch.cat(list(pieces.values()), dim=1).double()
    found = estimates(kind, 1024, pieces, 400)
    assert abs(found.mean() - x @ y) < 4 * found.std() / 400**0.5
    vector = ((x.square().sum() * y.square().sum() + (x @ y) ** 2) / 1024).sqrt()
    assert found.std() < 2 * vector


def test_tensorsketch_of_factors_is_that_of_the_product():
    generator = torch.Generator().manual_seed(2)
    left, right = torch.randn(3, 7, 10, generator=generator), torch.randn(3, 7, 12, generator=generator)
    sketch = TensorSketch(256, 4, SHAPES)
    product = (left.mT @ right).flatten(1)
    direct, spectral = torch.zeros(3, 256), torch.zeros(3, 256)
    sketch.add(direct, "a", product, torch.ones(3))
    squares = sketch.add_factors(spectral, "a", left, right, normalize=False)
    torch.testing.assert_close(spectral, direct, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(squares, product.square().sum(dim=1), rtol=1e-4, atol=1e-4)
    spectral.zero_()
    sketch.add_factors(spectral, "a", left, right, normalize=True)
    torch.testing.assert_close(spectral, direct / product.norm(dim=1, keepdim=True), rtol=1e-4, atol=1e-4)
    assert sketch.prefers_factors(1, 4096, 4096)
    assert not sketch.prefers_factors(64, 16, 16)


def test_kronecker_of_factors_is_unbiased_and_normalised():
    generator = torch.Generator().manual_seed(2)
    left, right = torch.randn(2, 7, 200, generator=generator), torch.randn(2, 7, 150, generator=generator)
    products = (left.mT @ right).flatten(1).double()
    exact, runs = products[0] @ products[1], 300
    found, squares = [], []
    for seed in range(runs):
        out = torch.zeros(2, 4096)
        squares.append(Kronecker(4096, seed).add_factors(out, "w", left, right, normalize=False))
        found.append(out[0] @ out[1])
    found, squares = torch.stack(found).double(), torch.stack(squares).double()
    assert abs(found.mean() - exact) < 4 * found.std() / runs**0.5
    norm = products.square().sum(dim=1)
    assert ((squares.mean(dim=0) - norm).abs() < 4 * squares.std(dim=0) / runs**0.5).all()
    out = torch.zeros(2, 4096)
    Kronecker(4096, 1).add_factors(out, "w", left, right, normalize=True)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(2))


def test_kronecker_of_a_matrix_is_that_of_its_factors():
    generator = torch.Generator().manual_seed(2)
    left, right = torch.randn(3, 7, 10, generator=generator), torch.randn(3, 7, 12, generator=generator)
    sketch = Kronecker(1024, 4, SHAPES)
    direct, factored = torch.zeros(3, 1024), torch.zeros(3, 1024)
    sketch.add(direct, "a", (left.mT @ right).flatten(1), torch.ones(3))
    sketch.add_factors(factored, "a", left, right, normalize=False)
    torch.testing.assert_close(direct, factored, rtol=1e-4, atol=1e-4)


def test_kronecker_variance_of_rank_one_is_the_documented_one():
    generator = torch.Generator().manual_seed(2)
    left, right = torch.randn(1, 1, 3000, generator=generator), torch.randn(1, 1, 3000, generator=generator)
    ratios = []
    for seed in range(1500):
        out = torch.zeros(1, 16384)
        Kronecker(16384, seed).add_factors(out, "w", left, right, normalize=False)
        ratios.append(out.square().sum() / (left.square().sum() * right.square().sum()))
    assert torch.stack(ratios).var() == pytest.approx(4 / 128 + 4 / 128**2, rel=0.2)


def test_layers_of_one_model_have_independent_sides():
    factor = torch.ones(1, 1, 100)
    outs = []
    for name in ("one", "two"):
        out = torch.zeros(1, 16384)
        Kronecker(16384, 3).add_factors(out, name, factor, factor, normalize=True)
        outs.append(out)
    assert abs(float((outs[0] * outs[1]).sum())) < 0.2


def test_who_takes_factors_and_what_is_refused():
    made = {
        name: entry(SKETCHES, name, option="sketch").for_sizes(
            SIZES, dimension=1024, seed=0, shapes=SHAPES, **({"padding": 1024} if name == "rapidgrad" else {})
        )
        for name in SKETCHES
    }
    taking = {name for name, sketch in made.items() if isinstance(sketch, FactorSketch)}
    assert taking == {"tensorsketch", "kronecker"}
    with pytest.raises(ConfigError, match="power of two"):
        Kronecker(3000)
    with pytest.raises(ConfigError, match="multiple of 32"):
        TensorSketch.for_sizes(SIZES, dimension=100)
    assert Oporp.for_sizes(SIZES, dimension=64, seed=0).bytes < 4 * TOTAL
    assert Gaussian(64).dimension == 64
