"""Distillation from the base (the adapter switched off), from another model, or from the model before with the unwanted tokens lowered.

loss = gamma (mean_i w_i D_i over forget rows + descent mean_i w_i l(clean answer) over those that have one) + alpha mean_i w_i R_i over retain rows, with D the
mean over the unwanted answer's tokens of KL(q || p), KL(p || q), or half of their sum, p the model's distribution and q the teacher's. Each is written out
here on the logits of one row at a time.
"""

import copy
import json
from dataclasses import replace

import peft
import pytest
import torch

from tests.folders import save_model
from tests.models.test_adapters import save_adapter
from tests.tiny import TinyTokenizer, tiny_model
from tests.unlearning.methods.scene import WEIGHTS, Scene, balanced
from tests.unlearning.test_forget import losses, poisoned, settings  # noqa: F401
from unweave.arguments import quoted
from unweave.errors import ConfigError, ModelError
from unweave.jobs.forget import forget_rows
from unweave.models.loading import load_model
from unweave.models.model import IN_MEMORY, Model
from unweave.unlearning import teacher as module
from unweave.unlearning.config import config_of
from unweave.unlearning.context import Context
from unweave.unlearning.methods import Distill
from unweave.unlearning.teacher import make_teacher


def chances(logits):
    return logits.exp() / logits.exp().sum(dim=-1, keepdim=True)


def kl(one, other):
    return sum(one[:, word] * (one[:, word] / other[:, word]).log() for word in range(one.shape[1]))


def base_logits(scene, example):
    """The base's, from a model of its own that never had an adapter."""
    base = copy.deepcopy(scene.earlier).unload()
    whole = base(input_ids=torch.tensor([example.input_ids])).logits[0].detach()
    places = list(example.label_positions)
    return whole[[place - 1 for place in places]]


def before_logits(scene, example):
    return scene.logits(example, before=True)[0]


def divergences(scene, *, teacher=base_logits, beta=0.0, direction="forward"):
    found = []
    for example in scene.forget:
        logits, targets = scene.logits(example)
        theirs = teacher(scene, example).clone()
        for place, target in enumerate(targets.tolist()):
            theirs[place, target] -= beta
        p, q = chances(logits), chances(theirs)
        tokens = {"forward": kl(q, p), "reverse": kl(p, q), "symmetric": (kl(q, p) + kl(p, q)) / 2}[direction]
        found.append(tokens.mean())
    return found


def clean_loss(scene):
    """Row 0 has the one clean answer of the step."""
    return WEIGHTS[0] * scene.nll(scene.rows[0].clean).mean()


def kept_distributions(scene):
    return [
        kl(chances(before_logits(scene, example)), chances(scene.logits(example)[0])).mean() for example in scene.retain
    ]


@pytest.mark.parametrize("direction", ["forward", "reverse", "symmetric"])
def test_value_and_gradient(direction):
    scene = Scene()
    expected = balanced(divergences(scene, direction=direction), scene.retained()) + clean_loss(scene)
    options = {} if direction == Distill().direction else {"direction": direction}
    scene.check("distill", expected, retain_loss="nll", **options)


@pytest.mark.parametrize("beta", [None, 3.0])
def test_with_the_model_before_reweighted_it_is_undial_less_the_teachers_entropy(beta):
    scene = Scene()
    forget = divergences(scene, teacher=before_logits, beta=beta or 10.0)
    expected = balanced(forget, scene.retained()) + clean_loss(scene)
    options = {"teacher": "reweighted", "beta": beta, "direction": "forward"}
    scene.check("distill", expected, retain_loss="nll", **options)
    slopes = [
        scene.gradient(scene.objective(method, **own).loss(scene.view(method)))
        for method, own in (
            ("distill", options | {"alpha": 0.0, "descent": 0.0}),
            ("undial", {"beta": beta or 10.0}),
        )
    ]
    assert (slopes[0] - slopes[1]).norm() < 1e-9 * slopes[1].norm()


def test_the_base_may_be_lowered_too():
    scene = Scene()
    expected = balanced(divergences(scene, beta=2.0), scene.retained()) + clean_loss(scene)
    scene.check("distill", expected, beta=2.0, direction="forward", retain_loss="nll")


@pytest.mark.parametrize("kind", ["nll", "kl", "both"])
def test_retain_rows_by_their_labels_by_the_model_before_or_by_both(kind):
    scene = Scene()
    labels, before = scene.retained(), kept_distributions(scene)
    both = [(one + other) / 2 for one, other in zip(labels, before, strict=True)]
    retain = {"nll": labels, "kl": before, "both": both}[kind]
    expected = balanced(divergences(scene), retain, gamma=0.5, alpha=2.0) + 0.5 * 3.0 * clean_loss(scene)
    scene.check("distill", expected, gamma=0.5, alpha=2.0, descent=3.0, retain_loss=kind, direction="forward")


def test_retain_rows_with_negative_weights_have_a_teacher_too():
    """They are rows to forget that came with the retain rows."""
    scene = Scene()
    scene.rows = (*scene.rows[:3], replace(scene.rows[3], is_forget=True, among_retain=True))
    forget = divergences(scene)
    expected = sum(weight * value for weight, value in zip((*WEIGHTS[:2], WEIGHTS[3]), forget, strict=True)) / 3
    expected = expected + WEIGHTS[2] * scene.retained()[0] + clean_loss(scene)
    scene.check("distill", expected, direction="forward", retain_loss="nll")


# The teacher.


def own_logits(model, example):
    whole = model(input_ids=torch.tensor([example.input_ids])).logits[0].detach()
    return whole[[place - 1 for place in example.label_positions]]


def given(teacher, example, *, dtype=torch.float64):
    targets = torch.tensor([example.input_ids[place] for place in example.label_positions])
    return teacher.logits([example.row_id], targets, dtype)


def in_memory(scene):
    return Model(scene.model, TinyTokenizer.make())


def test_a_base_in_memory_is_the_adapter_switched_off_and_dropout_does_not_reach_it():
    scene = Scene()
    scene.model.train()
    loaded = in_memory(scene)
    assert (loaded.base, loaded.adapter) == (IN_MEMORY, IN_MEMORY)
    found = make_teacher(loaded, scene.forget, kind="base", other=None, beta=0.0)
    losses = []
    for example in scene.forget:
        expected = base_logits(scene, example)
        assert torch.allclose(given(found, example), expected, rtol=1e-10, atol=1e-12)
        targets = torch.tensor([example.input_ids[place] for place in example.label_positions])
        losses.append(torch.nn.functional.cross_entropy(expected, targets).item())
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-10)
    assert scene.model.training
    assert all(kept.states and kept.values.shape[1] == 24 for kept in found.rows.values()), "states, not logits"


def test_what_is_kept_does_not_follow_the_model():
    scene = Scene()
    found = make_teacher(in_memory(scene), scene.forget, kind="base", other=None, beta=0.0)
    before = [given(found, example) for example in scene.forget]
    with torch.no_grad():
        for own in scene.model.parameters():
            own.add_(1.0)
    assert all(torch.equal(given(found, example), one) for example, one in zip(scene.forget, before, strict=True))


@pytest.mark.parametrize("why", ["an adapter on the head", "a cap"])
def test_where_states_do_not_make_the_logits_those_are_kept(why):
    scene, model = Scene(), tiny_model("qwen2")
    if why == "a cap":
        plain = model.forward

        def capped(*args, **options):
            found = plain(*args, **options)
            found.logits = 5 * torch.tanh(found.logits / 5)
            return found

        model.forward = capped
    else:
        torch.manual_seed(1)
        lora = peft.LoraConfig(r=2, target_modules=["lm_head"], init_lora_weights=False)
        model = peft.get_peft_model(model, lora, autocast_adapter_dtype=False)
    found = make_teacher(Model(model, TinyTokenizer.make()), scene.forget, kind="reweighted", other=None, beta=0.0)
    model.eval()
    assert not any(kept.states for kept in found.rows.values())
    for example in scene.forget:
        assert torch.allclose(given(found, example), own_logits(model, example), rtol=1e-5, atol=1e-5)


def test_another_model_teaches_as_it_would_by_itself(tmp_path):
    scene = Scene()
    base = save_model(tmp_path / "base")
    snapshot = tmp_path / "snapshot"
    save_adapter(
        snapshot,
        base,
        peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    for place in (base, snapshot):
        other = load_model(place, dtype="float64")
        found = make_teacher(in_memory(scene), scene.forget, kind="model", other=str(place), beta=0.0)
        for example in scene.forget:
            expected = own_logits(other.model, example)
            assert torch.allclose(given(found, example), expected, rtol=1e-5, atol=1e-5), "rotations are in float32"


def test_a_model_of_other_tokens_teaches_nothing(tmp_path, monkeypatch):
    scene, place = Scene(), str(save_model(tmp_path / "base"))
    monkeypatch.setattr(module, "tokenizer_fingerprint", id)
    with pytest.raises(ConfigError, match="another tokenizer"):
        make_teacher(in_memory(scene), scene.forget, kind="model", other=place, beta=0.0)


@pytest.mark.parametrize(("kind", "other", "where"), [("base", "x", "teacher_model"), ("model", None, "teacher_model")])
def test_a_teacher_that_is_named_has_to_be_the_one_that_is_asked_for(kind, other, where):
    scene = Scene()
    with pytest.raises(ConfigError) as raised:
        make_teacher(in_memory(scene), scene.forget, kind=kind, other=other, beta=0.0)
    assert raised.value.where == quoted(where)


def test_without_an_adapter_there_is_no_base():
    scene = Scene()
    bare = Model(tiny_model("gpt2"), TinyTokenizer.make())
    with pytest.raises(ConfigError, match="no adapter") as raised:
        Distill().prepare(Context(bare, scene.rows))
    assert "teacher='reweighted'" in raised.value.remedy


def test_an_adapter_that_has_trained_biases_of_the_base_has_none_either():
    lora = peft.LoraConfig(r=2, target_modules=["c_attn"], bias="all", fan_in_fan_out=True)
    model = peft.get_peft_model(tiny_model("gpt2"), lora, autocast_adapter_dtype=False)
    scene = Scene()
    with pytest.raises(ModelError, match="biases"):
        make_teacher(Model(model, TinyTokenizer.make()), scene.forget, kind="base", other=None, beta=0.0)


# Whole runs.


@pytest.mark.parametrize("mode", ["new", "continue"])
def test_a_run_leads_the_rows_to_where_the_base_has_them(poisoned, tmp_path, mode):  # noqa: F811
    """Also where the adapter was merged: the base has read the rows before."""
    options = {"epochs": 100.0, "learning_rate": 1e-2, "alpha": 0.0, "descent": 0.0, "direction": "forward"}
    config = settings(poisoned, tmp_path, config_of("distill"), adapter_mode=mode, **options)
    base = json.loads((poisoned / "adapter/adapter_config.json").read_text())["base_model_name_or_path"]
    goal, before = (losses(place, config.forget, config) for place in (base, poisoned / "adapter"))
    result = forget_rows(config)
    after = losses(result.folder, config.forget, config)
    assert result.details["teacher_loss"] == pytest.approx(goal, rel=1e-4)
    assert abs(after - goal) < 0.3 * abs(before - goal), (before, after, goal)


def test_a_factor_of_clean_answers_that_are_not_there_is_said():
    scene = Scene()
    scene.rows = tuple(replace(row, clean=None) for row in scene.rows)
    (said,) = scene.objective("distill", descent=2.0).cautions(scene.context)
    assert said.startswith("No effect has `descent`")
    assert scene.objective("distill").cautions(scene.context) == []
