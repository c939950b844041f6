"""What a step costs: the passes that a method makes are those that it says it makes."""

import re

import pytest

from tests.unlearning.methods.scene import Scene
from unweave.train import private
from unweave.unlearning.methods import Objective, available, get_method
from unweave.unlearning.roles import Role

WORDS = {"one": 1, "two": 2}
# Those with adapters of their own have no objective on a plain one; what they share is in the others.
STEPS = [
    name for name, method in available().items() if issubclass(method, Objective) and name not in ("stable", "reglu")
]


def said(cost):
    """Forward passes a step, and whether each sequence of a forget row is read once more in a run."""
    step = re.match(r"(one|two) forward", cost)
    return WORDS[step[1]], "one more forward pass for each" in cost and "with a bound" not in cost


def listen(scene, passes):
    """Write down how many sequences each forward pass has."""
    scene.model.get_base_model().register_forward_hook(
        lambda *given: passes.append(len(given[2]["input_ids"])), with_kwargs=True
    )


@pytest.mark.parametrize("method", STEPS)
def test_a_method_makes_the_passes_that_it_says(method, monkeypatch):
    budget = private.Privacy(epsilon=1.0, delta=1e-5, noise_multiplier=1.0, clip=1.0, sample_rate=0.1, steps=1, rows=4)
    monkeypatch.setattr(private, "read_privacy", lambda _: budget)
    scene, passes = Scene(), []
    listen(scene, passes)
    objective, step = scene.objective(method), scene.step(method)
    # A teacher reads the unwanted answers alone; what a preference compares is read of each side.
    read = (Role.UNWANTED,) if method == "distill" else (Role.UNWANTED, Role.CLEAN)
    unwanted = sum(role in read for role in step.roles.tolist())
    objective.cautions(scene.context)
    once = sum(passes)
    passes.clear()
    for number in range(3):
        view = scene.view(method)
        objective.loss(view)
        assert view.free_losses is None or len(view.free_losses.nll), "what is told costs no pass"
        if number == 0:
            # The sequences of forget rows are read under the model before, in a pass beside the step's.
            once += sum(passes) - len(step.roles) * said(get_method(method).cost)[0]
            passes.clear()
    a_step, once_more = said(get_method(method).cost)
    assert passes == [len(step.roles)] * 2 * a_step
    assert once == (unwanted if once_more else 0)


@pytest.mark.parametrize(("options", "once"), [({"bound": 2.0}, 3), ({}, 0)])
def test_a_bound_reads_each_forget_row_once_more(options, once):
    scene, passes = Scene(), []
    listen(scene, passes)
    for _ in range(2):
        scene.objective("rapidun", **options).loss(scene.view("rapidun"))
    assert sum(passes) == 2 * 5 + once
