"""LoReUn (arXiv 2507.22499): gradient difference, forget rows weighed by w proportional to exp(-l / tau), clipped, with mean 1; static weights from before."""

import math

import pytest

from tests.unlearning.methods.scene import Scene, balanced


def weights(losses, tau, low, high):
    raw = [math.exp(-loss / tau) for loss in losses]
    scaled = [value * len(raw) / sum(raw) for value in raw]
    clipped = [min(max(value, low), high) for value in scaled]
    return [value * len(raw) / sum(clipped) for value in clipped]


@pytest.mark.parametrize("schedule", ["static", "dynamic"])
@pytest.mark.parametrize(("tau", "low", "high"), [(0.8, 0.5, 3.0), (20.0, 0.1, 1.02)])
def test_value_and_gradient(schedule, tau, low, high):
    scene = Scene()
    losses = [scene.nll(example, before=schedule == "static").mean().item() for example in scene.forget]
    own = weights(losses, tau, low, high)
    assert own[0] != own[1]
    forget = [-weight * scene.nll(example).mean() for weight, example in zip(own, scene.forget, strict=True)]
    options = {"loreun_tau": tau, "loreun_wmin": low, "loreun_wmax": high, "schedule": schedule}
    scene.check("loreun", balanced(forget, scene.retained()), **options)


def test_weights_that_are_all_alike_are_said():
    scene = Scene(moved=False)
    (said,) = scene.objective("loreun", loreun_tau=1e4).cautions(scene.context)
    assert "between 1.00 and 1.00" in said
    assert scene.objective("loreun").cautions(scene.context) == []


def test_static_weights_are_those_without_dropout():
    scene = Scene(moved=False)
    scene.model.train()
    objective = scene.objective("loreun", loreun_tau=20.0)
    objective.cautions(scene.context)
    losses = [scene.nll(example, before=True).mean().item() for example in scene.forget]
    assert list(scene.context.kept["loreun"].values()) == pytest.approx(weights(losses, 20.0, 0.5, 3.0), rel=1e-9)
    assert scene.model.training
