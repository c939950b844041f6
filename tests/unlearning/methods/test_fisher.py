"""Fisher's noise: alpha / F_R, clamped by quantile and by each tensor's size (Golatkar et al., arXiv 1911.04933)."""

import pytest
import torch

from tests.unlearning.methods.edited import Scene, close, configured
from unweave.errors import TrainingError
from unweave.unlearning.edits.fisher import noise_spreads


@pytest.fixture(scope="module")
def scene():
    return Scene()


def deviations(scene, *, noise=0.1, quantile=0.9, most=2.0):
    """The standard deviation of each parameter's noise, and which are at a clamp."""
    information = scene.fisher(scene.retain)
    sizes = torch.cat([own.square().mean().sqrt().expand(own.numel()) for own in scene.parameters.values()])
    # The q-quantile of 1/F is one over the (1 - q)-quantile of F; the median counts as the lower one of two middle values.
    place = round((1 - quantile) * len(information)) - 1
    largest = 1 / information.sort().values[max(place, 0)]
    unit = (information * sizes.square()).sort().values[round(len(information) / 2) - 1]
    inverse = 1 / information
    wanted = (noise * unit * inverse.clamp(max=largest)).sqrt()
    return torch.minimum(wanted, most * sizes), (inverse > largest) | (wanted > most * sizes), noise * unit


def test_the_noise_has_the_variance_of_the_formula(scene):
    expected, clamped, alpha = deviations(scene)
    config = configured("fisher")
    fisher = scene.split(scene.fisher(scene.retain))
    spreads, found_alpha, share = noise_spreads(config, fisher, scene.parameters)
    assert close(torch.cat([own.flatten() for own in spreads.values()]), expected, 1e-6)
    assert found_alpha == pytest.approx(float(alpha), rel=1e-5)
    assert share == pytest.approx(float(clamped.double().mean()))
    noise = torch.stack([scene.edit("fisher", seed=seed)[0] for seed in range(4)])
    drawn = noise / expected
    # Five standard errors of the spread and of the mean of as many numbers.
    assert drawn.std() == pytest.approx(1.0, abs=5 * (2 * drawn.numel()) ** -0.5)
    assert drawn.mean() == pytest.approx(0.0, abs=5 * drawn.numel() ** -0.5)
    # And each parameter has its own: small noise where the formula says small.
    assert torch.corrcoef(torch.stack([noise.square().mean(dim=0).log(), expected.log()]))[0, 1] > 0.8


def test_most_parameters_are_off_the_clamps_and_the_noise_option_counts(scene):
    first, told = scene.edit("fisher")
    second, _ = scene.edit("fisher", noise=0.2)
    assert told["clamped"] < 0.5
    assert told["cautions"] == []
    ratio = second / first
    free = ~deviations(scene, noise=0.2)[1]
    assert torch.allclose(ratio[free], torch.full_like(ratio[free], 2**0.5), rtol=1e-3)


def test_the_scale_of_the_information_does_not_matter(scene):
    # A clamp of 1/F at a fixed number, as in the published code, is passed by all parameters or by none, as the gradients' scale has it.
    config = configured("fisher")
    found = []
    for factor in (1.0, 1e-8):
        fisher = scene.split(factor * scene.fisher(scene.retain))
        found.append(noise_spreads(config, fisher, scene.parameters))
    for name in scene.parameters:
        assert torch.allclose(found[0][0][name], found[1][0][name], rtol=1e-6)
    assert found[0][2] == found[1][2]


def test_much_at_the_clamps_is_said(scene):
    _, told = scene.edit("fisher", max_noise=0.01)
    assert told["clamped"] > 0.9
    assert any("at a clamp" in one and "`noise`" in one for one in told["cautions"])


def test_rows_that_touch_nothing_give_no_scale(scene):
    nothing = {name: torch.zeros_like(own) for name, own in scene.parameters.items()}
    name = next(iter(nothing))
    nothing[name] += 1.0
    with pytest.raises(TrainingError, match="no scale"):
        noise_spreads(configured("fisher"), nothing, scene.parameters)
