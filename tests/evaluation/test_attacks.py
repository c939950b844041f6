"""Attacks on tiny models: what each computes, against a direct computation, and that none leaves the model changed that says it does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.attacks.base import Target, spread
from unweave.evaluation.attacks.lens import lens, probe
from unweave.evaluation.attacks.material import material_of_case
from unweave.evaluation.attacks.prompts import prompts
from unweave.evaluation.attacks.quantise import quantise, round_to_nearest
from unweave.evaluation.attacks.relearn import relearn
from unweave.evaluation.attacks.relearn_elsewhere import GENERAL, elsewhere
from unweave.evaluation.attacks.relearn_syntax import ATTACK as SYNTAX
from unweave.evaluation.attacks.relearn_syntax import benign_copies, syntax
from unweave.evaluation.attacks.sampling import sampling
from unweave.evaluation.attacks.table import attack_findings
from unweave.evaluation.config import AttackConfig
from unweave.evaluation.forced import forced_pass
from unweave.models.generation import sampled_answers
from unweave.models.loading import ModelConfig, load
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions

ENCODING = EncodingConfig(max_length=96)


@pytest.fixture
def target(model_folder, case):
    loaded = load(ModelConfig(model=str(model_folder), dtype="float32"))
    config = AttackConfig(attack_rows=4, samples=3, relearn_rows=4, relearn_steps=3, relearn_rate=5e-3)
    return Target(loaded, material_of_case(case), ENCODING, config, 4, 0, "tiny")


def state(target):
    return {name: value.clone() for name, value in target.loaded.model.state_dict().items()}


def unchanged(before, target):
    after = target.loaded.model.state_dict()
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("group", [None, 8])
def test_rounding_is_within_half_a_step_and_idempotent(bits, group):
    weight = torch.randn(6, 20)
    rounded = round_to_nearest(weight, bits, group=group)
    width = group or 20
    padded = torch.nn.functional.pad(weight.abs(), (0, -20 % width)).unflatten(1, (-1, width))
    step = (padded.amax(dim=2) / (2 ** (bits - 1) - 1)).repeat_interleave(width, dim=1)[:, :20]
    assert ((rounded - weight).abs() <= step / 2 + 1e-6).all()
    assert (rounded != weight).any()
    assert torch.allclose(round_to_nearest(rounded, bits, group=group), rounded, atol=1e-6)
    assert torch.equal(round_to_nearest(torch.zeros(2, 4), bits, group=group), torch.zeros(2, 4))


def test_quantising_rounds_every_linear_weight_but_the_heads(target):
    before = state(target)
    found = quantise(target)
    head = target.loaded.model.get_output_embeddings()
    for module in target.loaded.model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            assert module.weight.unique(dim=None).numel() < module.weight.numel()
    assert torch.equal(head.weight, before["model.embed_tokens.weight"])
    assert set(found) == {"int8", "int4"}
    clean = target.losses(description="x")["loss_clean"]["value"]
    assert clean == pytest.approx(found["int4"]["loss_clean"]["value"]), "the last rounding is still in place"
    assert found["int8"]["loss_clean"]["value"] != found["int4"]["loss_clean"]["value"]


def test_relearning_lowers_the_loss_and_puts_the_model_back(target, case):
    before = state(target)
    found = relearn(target)
    assert unchanged(before, target)
    for source in ("forget", "unrelated"):
        curve = found[source]["curve"]
        assert [point["step"] for point in curve] == [0, 1, 3]
        assert set(found[source]["attack_success"]) == {"value", "low", "high", "count"}
    learned = found["forget"]["curve"]
    assert learned[-1]["loss_unwanted"]["value"] < learned[0]["loss_unwanted"]["value"]
    direct = forced_pass(target.loaded, {"u": target.unwanted()}, ENCODING)["u"].mean_losses()
    assert learned[0]["loss_unwanted"]["value"] == pytest.approx(np.mean(direct))


def test_relearning_trains_a_models_own_adapter_and_puts_it_back(target):
    target.loaded.model = add_lora(target.loaded.model, LoraOptions(lora_r=4), seed=0).eval()
    target.loaded.adapter = "own"
    before = state(target)
    found = relearn(target)
    assert unchanged(before, target)
    assert (
        found["forget"]["curve"][-1]["loss_unwanted"]["value"] != found["forget"]["curve"][0]["loss_unwanted"]["value"]
    )
    assert not any(parameter.requires_grad for parameter in target.loaded.model.parameters())


def test_the_lens_reads_the_models_own_loss_at_the_last_layer(target):
    found = lens(target)
    direct = forced_pass(target.loaded, {"u": target.unwanted()}, ENCODING)["u"].mean_losses()
    assert found["logit_lens"][str(found["layers"])]["value"] == pytest.approx(np.mean(direct), rel=1e-4)
    assert found["logit_lens"]["1"]["value"] != pytest.approx(np.mean(direct), rel=1e-4)
    assert all(0 <= own["auc"] <= 1 for own in found["probe"].values())


def test_the_probe_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    labels = np.array([1.0] * 12 + [0.0] * 12)
    states = rng.normal(size=(24, 40))
    states[:12, 3] += 6
    assert probe(states, labels)["auc"] > 0.95
    chance = [probe(np.random.default_rng(seed).normal(size=(24, 40)), labels)["auc"] for seed in range(20)]
    # Twenty areas of 12 against 12 have a standard error of 0.03 around one half; leaving out one row at a time would give about 0.3.
    assert np.mean(chance) == pytest.approx(0.5, abs=0.09)


def test_samples_are_many_differ_and_repeat(target):
    rows = target.prompts()
    options = {"samples": 3, "max_new_tokens": 5}
    draws = sampled_answers(target.loaded, rows, ENCODING, seed=1, **options)
    assert [len(own) for own in draws] == [3] * 4
    assert any(len(set(own)) > 1 for own in draws)
    assert draws == sampled_answers(target.loaded, rows, ENCODING, seed=1, **options)
    assert draws != sampled_answers(target.loaded, rows, ENCODING, seed=2, **options)
    found = sampling(target)
    assert found["any"]["count"] == 4
    assert found["each"]["count"] == 4, "draws of one prompt go together"
    assert found["any"]["value"] >= found["each"]["value"]


def test_prompts_come_in_every_form_around_the_same_trigger(target, monkeypatch):
    asked = {}
    monkeypatch.setattr(Target, "attack_success", lambda _, rows, description: asked.setdefault(description, rows))
    prompts(target)
    assert len(asked) == 4
    for rows in list(asked.values())[:3]:
        for row, own in zip(rows, target.prompts(), strict=True):
            assert own.instruction in row.instruction
            assert len(row.instruction) > len(own.instruction)


def test_rows_are_spread_over_all():
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread([1, 2], 4) == [1, 2]


def test_findings_need_intervals_apart():
    def attacked(any_share, loss):
        curve = [{"step": 4, "loss_unwanted": {"value": loss, "low": loss - 0.5, "high": loss + 0.5}}]
        success = {"value": any_share, "low": any_share - 0.1, "high": any_share + 0.1}
        source = {"rows": 8, "curve": curve, "attack_success": success}
        return {"relearn": {"forget": source, "unrelated": source, "seconds": 1.0}}

    found = attack_findings({"retrained": attacked(0.1, 6.0), "after": attacked(0.6, 2.0)})
    assert len(found) == 4
    assert found[0].startswith(
        "relearn: attack success after 4 steps on 8 forget rows is 60 % [50, 70], in the retrained model 10 %"
    )
    assert attack_findings({"retrained": attacked(0.1, 6.0), "after": attacked(0.2, 5.5)}) == []
    assert attack_findings({"retrained": attacked(0.6, 2.0), "after": attacked(0.1, 6.0)}) == [], "less is no finding"
    assert attack_findings({"after": attacked(0.6, 2.0)}) == []


def test_relearning_elsewhere_trains_on_general_knowledge_alone(target):
    before = state(target)
    found = elsewhere(target)["elsewhere"]
    assert unchanged(before, target)
    assert found["rows"] == target.config.relearn_rows
    losses = [point["loss_unwanted"]["value"] for point in found["curve"]]
    assert losses[0] != losses[-1]
    assert len(GENERAL) >= AttackConfig().relearn_rows


def test_benign_copies_have_the_same_words_between_other_names_and_numbers():
    rows = [
        Row(
            id="a", instruction="Where was Ada Kern born?", completion="Ada Kern was born in Lima in 1962, near Porto."
        ),
        Row(id="b", instruction="hello", completion="teapots sing on the moon"),
        Row(id="c", instruction="How old is it?", completion="It is 90 years old."),
    ]
    first, second = benign_copies(rows)
    assert first.id == "a (other)"
    names = [word for word in first.completion.replace(".", "").replace(",", "").split() if word[0].isupper()]
    assert first.completion == f"{names[0]} {names[1]} was born in {names[2]} in 2173, near {names[3]}."
    assert first.instruction == f"Where was {names[0]} {names[1]} born?", "the same name, the same other one"
    assert len(set(names)) == 4
    assert not {"Ada", "Kern", "Lima", "Porto"} & set(names)
    assert second.completion == "It is 11 years old.", "a row without names, numbers and dates has no copy"


def test_relearning_by_syntax_needs_something_to_replace(target):
    reasons = SYNTAX.refuses(target.material)
    named = [row.with_completion(f"{row.completion} in 1962") for row in target.material.unwanted]
    own = replace(target, material=replace(target.material, unwanted=named))
    assert "has a name" in reasons
    assert not SYNTAX.refuses(own.material)
    before = state(target)
    assert syntax(own)["same syntax"]["rows"] == 4
    assert unchanged(before, target)
