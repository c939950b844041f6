"""The model before forgetting: its own parameters, no dropout, no trace left; the loss of a model to itself is what the formula says."""

import math

import pytest
import torch

from tests.unlearning.methods.scene import WEIGHTS, Scene, balanced
from tests.unlearning.test_forget import poisoned, settings  # noqa: F401
from unweave.jobs.forget import forget_rows
from unweave.models.evaluation import evaluating, without_dropout
from unweave.models.loading import load
from unweave.unlearning import running
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import Objective, available, get_method

# What the loss of a model to itself is: forget part and retain part of each row, given the losses l of the scene's rows.
COMPARED = {
    "npo": ({}, lambda scene: balanced([2 / 0.1 * math.log(2)] * 2, scene.retained())),
    "idk": ({}, lambda scene: balanced([2 / 0.1 * math.log(2)] * 2, scene.retained())),
    "graddiff": (
        {"retain_loss": "kl"}, lambda scene: balanced([-scene.nll(example).mean() for example in scene.forget], [0, 0])
    ),
    "undial": (
        {"beta": 0.0},
        lambda scene: balanced([entropy(scene, example) for example in scene.forget], [0, 0]),
    ),
    "distill": ({"teacher": "reweighted", "beta": 0.0, "descent": 0.0, "retain_loss": "kl"}, lambda _: 0.0),
    "rmu": ({"gamma": 0.0}, lambda _: 0.0),
    "rapidun": (
        {"bound": 2.0, "descent": 0.0},
        lambda scene: (
            sum(weight * 4 * math.log(2) for weight in WEIGHTS[:2])
            + sum(weight * value for weight, value in zip(WEIGHTS[2:], scene.retained(), strict=True))
        )
        / 4,
    ),
}  # fmt: skip


def entropy(scene, example):
    """The cross-entropy to the model's own distribution, beta being 0."""
    chances = scene.logits(example)[0].softmax(dim=-1)
    return -(chances * chances.log()).sum(dim=-1).mean()


@pytest.mark.parametrize("method", COMPARED)
def test_the_loss_of_a_model_to_itself_is_what_the_formula_says(method):
    options, formula = COMPARED[method]
    scene = Scene(moved=False)
    with torch.no_grad():
        expected = float(formula(scene))
    scene.model.train()
    with without_dropout(scene.model):
        found = scene.objective(method, **options).loss(scene.view(method)).item()
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert get_method(method)(**options).compares


def test_every_method_that_compares_is_here():
    objectives = {name: method for name, method in available().items() if issubclass(method, Objective)}
    assert (
        {name for name, method in objectives.items() if method().compares}
        == {"npo", "idk", "undial", "rmu", "distill"}
        <= set(COMPARED)
    )


def test_the_model_before_has_no_dropout_and_every_module_gets_its_mode_back():
    scene = Scene()
    exact = {example.row_id: scene.nll(example, before=True).sum().item() for example in scene.forget}
    scene.model.train()
    head = next(module for module in scene.model.modules() if isinstance(module, torch.nn.LayerNorm))
    head.eval()
    modes = [module.training for module in scene.model.modules()]
    noisy = {scene.nll(example).sum().item() for example in scene.forget * 2}
    assert len(noisy) == 4, "dropout is on"
    step = scene.step("npo")
    sums = dict(zip(step.row_ids, scene.reference.sums(scene.model, step, torch.float64).tolist(), strict=True))
    # No objective compares retain rows so.
    assert sums == pytest.approx({**exact, **{example.row_id: 0.0 for example in scene.retain}}, rel=1e-10)
    assert [module.training for module in scene.model.modules()] == modes


def test_it_leaves_no_trace_in_the_model():
    scene = Scene()
    now = {name: own.clone() for name, own in scene.model.named_parameters()}
    with scene.reference.active():
        assert not torch.is_grad_enabled()
        assert all(torch.equal(own, scene.earlier.get_parameter(name)) for name, own in scene.model.named_parameters())
    assert all(torch.equal(own, now[name]) for name, own in scene.model.named_parameters())


def test_dropout_is_put_back():
    scene = Scene()
    scene.model.train()
    rates = [module.p for module in scene.model.modules() if isinstance(module, torch.nn.Dropout)]
    assert max(rates) == 0.3
    with without_dropout(scene.model), evaluating(scene.model):
        assert not any(module.p for module in scene.model.modules() if isinstance(module, torch.nn.Dropout))
    assert [module.p for module in scene.model.modules() if isinstance(module, torch.nn.Dropout)] == rates


@pytest.mark.parametrize(("method", "expected"), [("npo", 2 / 0.1 * math.log(2)), ("rmu", 0.0)])
def test_the_first_step_of_a_run_on_an_adapter_with_dropout(poisoned, tmp_path, monkeypatch, method, expected):  # noqa: F811
    """`npo`: 2 / beta log 2, the retain part apart. `rmu`: the retain part is 0; the first step's gradient is that of the forget part alone."""
    made, run_loop = [], running.run_loop

    def kept(*args, **options):
        made.append(run_loop(*args, **options))
        return made[-1]

    monkeypatch.setattr(running, "run_loop", kept)
    options = {"alpha": 1e-12} if method == "npo" else {"gamma": 1e-15}
    config = settings(poisoned, tmp_path, config_of(method), epochs=0.5, learning_rate=1e-3, **options)
    forget_rows(config, loaded=with_dropout(load(config)))
    assert made[0].losses[0] == pytest.approx(expected, rel=1e-5, abs=1e-9)


def with_dropout(loaded, rate=0.5):
    """The adapter's matrices behind dropout, as an adapter that was trained with it is loaded."""
    for module in loaded.model.modules():
        if hasattr(module, "lora_dropout"):
            module.lora_dropout["default"] = torch.nn.Dropout(rate)
    return loaded
