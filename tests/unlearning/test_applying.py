"""How far along an edit: to the target, and no farther than the rows to keep stand."""

import pytest
import torch

from tests.unlearning.methods.edited import Scene, configured
from unweave.errors import ModelError, TrainingError
from unweave.unlearning import applying
from unweave.unlearning.applying import apply_edit, change
from unweave.unlearning.line_search import Stop, along_to_target, without_ruin
from unweave.unlearning.stopping import mean_loss


@pytest.mark.parametrize("rise", [0.8, 1.0, 2.5])
def test_an_edit_goes_on_until_the_target_is_reached(rise):
    def measure(scale):
        return Stop(scale, 0.1 + 0.05 * scale**rise, 0.3 + 0.001 * scale)

    *tried, reached = along_to_target(measure, 2.0, first=1.0, max_retain_increase=0.5)
    assert abs(reached.forget_loss / 2.0 - 1) <= 0.5
    assert tried[0].scale == 0
    assert len(tried) < 8


def test_an_edit_does_not_go_where_the_retain_rows_are_ruined():
    def measure(scale):
        return Stop(scale, 0.1 + 0.1 * scale, 0.3 if scale < 6 else float("nan"))

    *_, reached = along_to_target(measure, 2.0, first=1.0, max_retain_increase=0.5)
    assert 4 < reached.scale < 6, "19 would reach the target"
    already = along_to_target(measure, 0.1, first=1.0, max_retain_increase=0.5)
    assert [point.scale for point in already] == [0.0], "nothing is to be done"


def test_an_edit_is_halved_until_the_retain_rows_stand_it():
    def measure(scale):
        return Stop(scale, 1.0, 0.3 + 0.25 * scale if scale < 9 else float("nan"))

    tried = without_ruin(measure, first=10.0, max_retain_increase=0.7)
    assert [point.scale for point in tried] == [0.0, 10.0, 5.0, 2.5]
    assert without_ruin(measure, first=10.0, max_retain_increase=-1.0)[-1].scale == 0.0, "nothing is harmless"


def test_an_edit_that_helps_the_forget_rows_is_not_taken():
    def measure(scale):
        return Stop(scale, 1.0 - 0.01 * scale, 0.3)

    assert along_to_target(measure, 2.0, first=1.0, max_retain_increase=0.5)[-1].scale == 0.0


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def ascent(scene):
    """The gradient of the forget rows: along it their loss rises."""
    return scene.split(scene.loss_gradients(scene.forget).mean(dim=0))


def losses(scene):
    return [
        mean_loss(scene.model, [row.example for row in rows], pad_token_id=0) for rows in (scene.forget, scene.retain)
    ]


def test_the_target_is_reached_and_what_is_told_is_what_was_done(scene, ascent):
    start, before = scene.state(), losses(scene)[0]
    config = configured("llmeraser")
    told = apply_edit(scene.context(config), scene.parameters, ascent, name="llmeraser", first=1.0, target=1.1 * before)
    assert losses(scene)[0] == pytest.approx(1.1 * before, rel=0.055)
    assert told["watched"][-1]["scale"] == told["scale"] > 0
    assert told["watched"][-1]["forget_loss"] == pytest.approx(losses(scene)[0])
    assert told["norm"] == pytest.approx(float((scene.state() - start).norm()), rel=1e-6)
    assert told["lost_to_rounding"] < 1e-6
    assert told["cautions"] == []


def test_the_factor_asked_for_is_halved_and_that_is_said(scene, ascent, monkeypatch):
    start = scene.state()
    length = float(torch.cat([own.flatten() for own in ascent.values()]).norm())

    def distance(*_, **__):
        return float((scene.state() - start).norm()) / length

    monkeypatch.setattr(applying, "mean_loss", distance)
    config = configured("llmeraser", max_retain_increase=0.3)
    told = apply_edit(scene.context(config), scene.parameters, ascent, name="llmeraser", first=2.0, target=None)
    assert told["scale"] == 0.25
    assert distance() == pytest.approx(0.25)
    assert any("at the factor 2 of the edit the retain rows lose more" in caution for caution in told["cautions"])


def test_what_is_harmful_at_every_factor_is_an_error_and_leaves_the_model_as_it_was(scene, ascent):
    start = scene.state()
    config = configured("llmeraser", max_retain_increase=-1e9)
    for target in (None, 1e3):
        with pytest.raises(TrainingError, match="harmful at every factor"):
            apply_edit(scene.context(config), scene.parameters, ascent, name="llmeraser", first=1.0, target=target)
        assert torch.equal(scene.state(), start)


def test_a_target_that_is_reached_already_is_an_error(scene, ascent):
    with pytest.raises(TrainingError, match="nothing to do"):
        apply_edit(
            scene.context(configured("llmeraser")), scene.parameters, ascent, name="llmeraser", first=1.0, target=0.1
        )


def test_a_loss_that_is_no_number_is_too_far(scene, ascent, monkeypatch):
    start = scene.state()

    def breaks(model, rows, *, pad_token_id):
        if float((scene.state() - start).norm()) > 0.01:
            raise ModelError("A loss is not finite.")
        return mean_loss(model, rows, pad_token_id=pad_token_id)

    monkeypatch.setattr(applying, "mean_loss", breaks)
    first = 0.03 / float(torch.cat([own.flatten() for own in ascent.values()]).norm())
    told = apply_edit(
        scene.context(configured("llmeraser")), scene.parameters, ascent, name="llmeraser", first=first, target=None
    )
    assert told["scale"] == first / 4


def test_what_rounding_takes_of_a_change_is_measured():
    parameters = {"w": torch.ones(1000, dtype=torch.bfloat16)}
    norm, lost = change(parameters, {"w": torch.full((1000,), 1e-4)})
    assert norm == pytest.approx(1e-4 * 1000**0.5)
    assert lost == pytest.approx(1.0, abs=1e-3)
    # Half the spacing of bfloat16 below 1 is 2^-9: three quarters of 2^-7 land on 2^-7.
    _, lost = change(parameters, {"w": torch.full((1000,), 0.75 * 2**-7)})
    assert lost == pytest.approx(1 / 3)


def test_a_change_that_rounding_takes_is_said(scene, ascent):
    scene.model.to(torch.bfloat16)
    small = {name: 1e-4 * own.float() / own.norm() for name, own in ascent.items()}
    told = apply_edit(
        scene.context(configured("llmeraser")), scene.parameters, small, name="llmeraser", first=1.0, target=None
    )
    assert told["lost_to_rounding"] > 0.5
    assert any("rounding to bfloat16 took" in caution and "`dtype` float32" in caution for caution in told["cautions"])
