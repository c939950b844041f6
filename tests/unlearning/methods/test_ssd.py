"""SSD against its two equations (Foster et al., arXiv 2308.07707), written out."""

import re

import pytest
import torch

from tests.unlearning.methods.edited import Scene, close
from unweave.errors import TrainingError


@pytest.fixture(scope="module")
def scene():
    return Scene()


def dampened(scene, selection, dampening):
    """theta_i *= min(lambda F_D / F_F, 1) where F_F > a F_D, less theta: F_D of the retain rows."""
    own, other = scene.fisher(scene.forget), scene.fisher(scene.retain)
    chosen = own > selection * other
    return torch.where(chosen, scene.state() * ((dampening * other / own).clamp(max=1) - 1), 0.0), chosen


@pytest.mark.parametrize(("selection", "dampening"), [(10.0, 1.0), (1.5, 0.5), (0.5, 0.8)])
def test_it_is_its_formula(scene, selection, dampening):
    delta, told = scene.edit("ssd", selection=selection, dampening=dampening)
    expected, chosen = dampened(scene, selection, dampening)
    assert close(delta, expected, 1e-4)
    assert told["selected"] == pytest.approx(float(chosen.double().mean()), abs=1e-3)
    assert 0 < told["selected"] < 1


def test_the_default_selects_although_forget_rows_are_a_third(scene):
    # With the forget rows in F_D no ratio can pass the sum of all weights over that of theirs: 3 here, and 10 is asked for.
    everything = scene.fisher(scene.rows)
    own = scene.fisher(scene.forget)
    most = sum(row.weight for row in scene.rows) / sum(row.weight for row in scene.forget)
    assert most < 10
    assert float((own / everything).nan_to_num().max()) <= most * (1 + 1e-9)
    _, told = scene.edit("ssd")
    assert told["selected"] > 0.001


def test_nothing_selected_is_an_error_whose_remedy_works(scene):
    with pytest.raises(TrainingError, match="changes no parameter") as raised:
        scene.edit("ssd", selection=1e12)
    advised = float(re.search(r"a selection of ([\d.e+]+)", str(raised.value.remedy)).group(1))
    _, told = scene.edit("ssd", selection=advised)
    assert told["selected"] == pytest.approx(1e-3, abs=1e-3)
    assert told["scaled"] > 0


def test_a_dampening_that_scales_nothing_is_an_error(scene):
    with pytest.raises(TrainingError, match="scales none of the"):
        scene.edit("ssd", dampening=1e12)
