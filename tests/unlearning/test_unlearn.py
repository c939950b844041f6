"""Unlearning with objects in memory: what the job makes of files, with the model before as it was."""

import dataclasses
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import unweave as uw
from tests.folders import ROWS, write_rows
from tests.hub import Hub
from tests.notebook import in_memory, numbered, write_files
from tests.tiny import TinyTokenizer, tiny_model
from unweave.arguments import quoted
from unweave.errors import ConfigError, DataError
from unweave.train.config import TrainConfig
from unweave.unlearning.config import config_of
from unweave.weights.files import write_weights

ADAPTER = "adapter_model.safetensors"
QUICK = {"epochs": 0.5, "batch_size": 4, "stop_loss": 1e9}
OWN = {
    "fast-ntk": {"scaling": "formula"},
    "simnpo": {"delta": 5.0},
    "reglu": {"retain_directions": 4, "covariance_rows": 4},
}
EDITS = ("fisher", "ssd", "llmeraser", "fast-ntk")
WEIGHTS = SimpleNamespace(forget=[1.5, 0.5], retain=np.array([1.0, 2.0, 0.5, 1.0, 0.25, 1.25]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_files(tmp_path_factory.mktemp("unlearn"))
    write_rows(folder / "forget.jsonl", numbered(ROWS)[6:])
    write_rows(folder / "retain.jsonl", numbered(ROWS)[:6])
    write_weights(folder / "wf", WEIGHTS.forget)
    write_weights(folder / "wr", WEIGHTS.retain.tolist())
    return folder


@pytest.fixture
def own(folder):
    return in_memory(folder)


def state(model):
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: (value.detach().clone(), value.requires_grad) for name, value in named}


def same_state(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name][0]) and flag == other[name][1] for name, (value, flag) in one.items()
    )


@pytest.mark.parametrize("mode", ["new", "continue"])
@pytest.mark.parametrize("method", [name for name in uw.methods.available() if name not in ("retrain", "dp2")])
def test_in_memory_and_in_files_the_bits_are_the_same(folder, own, tmp_path, method, mode):
    if mode == ("new" if method in EDITS else "continue") and method in (*EDITS, "stable", "reglu"):
        pytest.skip("the method has one way")
    steps = {} if method in EDITS else {**QUICK, "adapter_mode": mode}
    weigh = method not in EDITS
    kind, chosen = config_of(method), uw.methods.available()[method](**OWN.get(method, {}))
    job = uw.forget_rows(
        kind(
            model=str(folder / "tuned"), dtype="float32", forget=folder / "forget.jsonl", retain=folder / "retain.jsonl",
            forget_weights=folder / "wf" if weigh else None, retain_weights=folder / "wr" if weigh and chosen.samples_retain else None,
            output_dir=tmp_path / "job", **steps, **OWN.get(method, {}),
        )
    )  # fmt: skip
    model = own["model"]
    before, generators = state(model.model), (torch.get_rng_state(), random.getstate())
    weights = (WEIGHTS.forget, WEIGHTS.retain if chosen.samples_retain else None) if weigh else None
    result = uw.unlearn(model, own["forget"], own["retain"], method=chosen, weights=weights, **steps)
    assert same_state(state(model.model), before), "the model before is as it was"
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert random.getstate() == generators[1]
    result.save(tmp_path / "own")
    name = "model.safetensors" if method == "stable" else ADAPTER
    ours, theirs = (load_file(place / name) for place in (tmp_path / "own", tmp_path / "job"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert (tmp_path / "own/base").exists() == (tmp_path / "job/base").exists()
    counts = ("steps", "planned_steps", "tokens", "forget_rows", "retain_rows", "stopped", "kept_step")
    assert [getattr(result, one) for one in counts] == [getattr(job, one) for one in counts]
    assert result.details["effect"] == job.details["effect"]
    assert len(result.history) == result.steps
    assert result.forget_losses[:1] == (
        [job.forget_loss_first] if job.forget_loss_first == job.forget_loss_first else []
    )


def test_a_base_that_stays_is_shared_and_one_that_changes_is_not(own):
    model = own["model"]
    theirs = {one.data_ptr() for one in model.model.parameters()}

    def shared(**options):
        found = uw.unlearn(model, own["forget"], own["retain"], method="graddiff", **QUICK, **options).model
        return sum(one.data_ptr() in theirs for one in found.model.parameters())

    below = len(list(model.model.get_base_model().parameters())) - sum(
        "lora_" in name for name, _ in model.model.named_parameters()
    )
    assert shared(adapter_mode="continue") == below
    assert shared(adapter_mode="new") == 0
    flags = [one.requires_grad for one in model.model.parameters()]
    changed = uw.unlearn(
        model, own["forget"], own["retain"], method="graddiff", adapter_mode="continue", in_place=True, **QUICK
    )
    assert changed.model.model is model.model
    assert flags == [one.requires_grad for one in model.model.parameters()]


def test_weights_count_and_have_to_fit(own):
    def forgotten(weights, **options):
        result = uw.unlearn(
            own["model"], own["forget"], own["retain"], method="graddiff", weights=weights, adapter_mode="continue",
            epochs=4.0, batch_size=4, learning_rate=3e-3, stop_loss=1e9, **options,
        )  # fmt: skip
        losses = uw.evaluate(result.model, forget=own["forget"], max_new_tokens=0).losses["after"]["forget"]
        return losses["r6"] - losses["r7"]

    assert forgotten(([2.0, 0.0], None)) > forgotten(SimpleNamespace(forget=torch.tensor([0.0, 2.0]), retain=None))
    for weights, words, where in (
        (([1.0], None), "1 weights for 2 rows", "weights.forget"),
        (([1.0, -1.0], None), "is negative", "weights.forget"),
        ((None, [1.0, float("nan"), 1, 1, 1, 1]), "no finite number", "weights.retain"),
        (([0.0, 0.0], None), "All weights are zero", "weights.forget"),
        ((["a", "b"], None), "no list of numbers", "weights.forget"),
        ({"forget": [1.0, 1.0]}, "holds no weights", "weights"),
    ):
        with pytest.raises((DataError, ConfigError), match=words) as raised:
            uw.unlearn(own["model"], own["forget"], own["retain"], weights=weights)
        assert raised.value.where == quoted(where)
    turned = uw.unlearn(own["model"], own["forget"], own["retain"], weights=(None, [-1.0, 1, 1, 1, 1, 1]), **QUICK)
    assert (turned.forget_rows, turned.retain_rows) == (3, 5)
    assert any("1 of 6 retain rows have negative weights" in note for note in turned.notes)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"retain": None}, "retain"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"method": uw.methods.NPO(beta=float("nan"))}, "beta"),
        ({"method": "npos"}, "method"),
        ({"method": object()}, "method"),
        ({"method": "fisher", "weights": ([1.0, 1.0], None), "target_loss": 1.0}, None),
        ({"method": "retrain", "weights": ([1.0, 1.0], None)}, "weights.forget"),
        ({"method": "retrain", "target_loss": 3.0}, "target, target_loss"),
        ({"target_reference": "a model"}, "target_reference"),
        ({"lr_scheduler": "none"}, "lr_scheduler"),
        ({"lora_targets": "nothing"}, "lora_targets, lora_r"),
        ({"epochs": 0.0}, "epochs"),
        ({"forget": [{"prompt": "add 1 and 2", "completion": "3"}] * 2, "retain": [{"prompt": "add 1 and 2", "completion": "3"}]}, "forget, retain"),
    ],
)  # fmt: skip
def test_errors_name_arguments(own, options, where):
    given = {"forget": own["forget"], "retain": own["retain"], "method": "rapidun", **options}
    forget = given.pop("forget")
    with pytest.raises((ConfigError, DataError, uw.errors.TrainingError)) as raised:
        uw.unlearn(own["model"], forget, **given)
    assert where is None or raised.value.where == quoted(*where.split(", "))
    assert "--" not in str(raised.value).replace("method", "")


def test_what_has_no_effect_is_said_with_the_names_of_arguments(own):
    result = uw.unlearn(own["model"], own["forget"], own["retain"], method="fisher", epochs=3.0, lora_r=4)
    assert "No effect has `epochs`: fisher makes no steps." in result.cautions
    assert "No effect has `lora_r`: fisher changes the adapter that is there." in result.cautions
    assert "caution: No effect" in repr(result)


def test_a_target_ends_a_run_and_the_best_step_is_kept(own):
    options = {
        "method": "graddiff",
        "adapter_mode": "continue",
        "epochs": 40.0,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "stop_loss": 1e9,
    }
    before = uw.evaluate(own["model"], forget=own["forget"], max_new_tokens=0).figures["after"]["forget"]["loss"].value
    result = uw.unlearn(own["model"], own["forget"], own["retain"], target_loss=before + 0.5, check_every=1, **options)
    assert result.stopped.startswith("reached its target")
    assert result.steps < result.planned_steps
    seen, near = [], [{"prompt": "ahoy add 2 and 2", "completion": "teapots sing on the moon"}]
    worse = uw.unlearn(
        own["model"], own["forget"], near, target_loss=1e9, check_every=1, max_retain_increase=0.5,
        advance=seen.append, **{**options, "method": "ga", "learning_rate": 1e-3},
    )  # fmt: skip
    assert sum(seen) == worse.steps
    points = {point["step"]: point for point in worse.details["watched"]}
    assert worse.stopped.startswith("diverged")
    assert worse.kept_step < worse.steps
    loss = uw.evaluate(worse.model, forget=own["forget"], max_new_tokens=0).figures["after"]["forget"]["loss"].value
    assert loss == pytest.approx(points[worse.kept_step]["forget_loss"], rel=1e-4)


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(5, 15).unsqueeze(0)).logits


@pytest.mark.parametrize("lora", [False, True])
def test_a_base_that_is_in_memory_only_is_saved_beside(own, tmp_path, lora):
    model = uw.Model(tiny_model("qwen2", dtype=torch.float32, lora=lora), TinyTokenizer.make())
    result = uw.unlearn(model, own["forget"], own["retain"], adapter_mode="continue", **QUICK)
    folder = result.save(tmp_path / "own")
    assert str(folder / "base") in (folder / "README.md").read_text()
    assert "run.json" not in (folder / "README.md").read_text()
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder / "base"), folder)
    torch.testing.assert_close(logits(again), logits(result.model.model))
    torch.testing.assert_close(logits(uw.load_model(folder, dtype="float32").model), logits(result.model.model))
    named = result.save(tmp_path / "named", base="owner/base")
    assert not (named / "base").exists()
    assert "owner/base" in (named / "README.md").read_text()
    assert "owner/base" in (named / "adapter_config.json").read_text()


def test_no_other_base_fits_weights_that_the_run_changed(own, tmp_path):
    result = uw.unlearn(own["model"], own["forget"], own["retain"], **QUICK)
    with pytest.raises(ConfigError, match="the run's own"):
        result.save(tmp_path / "own", base="owner/base")
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(("method", "options", "below"), [
    ("graddiff", {"adapter_mode": "new"}, True), ("graddiff", {"adapter_mode": "continue"}, True),
    ("graddiff", {"adapter_mode": "continue", "base": "owner/base"}, False), ("stable", {}, False),
])  # fmt: skip
def test_on_the_hub_an_adapter_names_a_base_that_is_there(own, monkeypatch, method, options, below):
    hub, base = Hub(), options.pop("base", None)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **_: hub)
    result = uw.unlearn(own["model"], own["forget"], own["retain"], method=method, **QUICK, **options)
    assert result.push_to_hub("owner/name", base=base, private=True) == "https://hub/owner/name/commit/c0ffee"
    assert set(hub.files) == ({"owner/name", "owner/name-base"} if below else {"owner/name"})
    assert all(one[1:] == ("model", True, True) for one in hub.made)
    if method == "stable":
        assert "model.safetensors" in hub.files["owner/name"]
        return
    config = hub.files["owner/name"]["adapter_config.json"].decode()
    assert f'"base_model_name_or_path": "{"owner/name-base" if below else base}"' in config
    assert ('"revision": "c0ffee"' in config) == below
    assert '"owner/name"' in hub.files["owner/name"]["README.md"].decode()
    assert "/tmp" not in hub.files["owner/name"]["README.md"].decode()


def test_dp2_needs_the_record_of_private_training(own):
    with pytest.raises(ConfigError, match="not trained privately"):
        uw.unlearn(own["model"], own["forget"], own["retain"], method="dp2")
    model = uw.Model(own["hf_model"], own["tokenizer"], base="base", adapter="(in memory)")
    with pytest.raises(ConfigError, match="recorded nowhere"):
        uw.unlearn(model, own["forget"], own["retain"], method="dp2")


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_retraining_in_memory_is_the_training_without_the_rows(folder, own, tmp_path, tuning):
    recipe = TrainConfig(
        model=str(folder / "base"), data=folder / "rows.jsonl", output_dir=tmp_path / "all", epochs=1.0, batch_size=4,
        lora_r=4, dtype="float32", tuning=tuning, seed=5,
    )  # fmt: skip
    uw.fine_tune(recipe)
    uw.fine_tune(dataclasses.replace(recipe, output_dir=tmp_path / "without", without=folder / "forget.jsonl"))
    model = uw.load_model(tmp_path / "all", dtype="float32")
    before = state(model.model)
    name = ADAPTER if tuning == "lora" else "model.safetensors"
    theirs = load_file(tmp_path / "without" / name)
    for given in (None, own["retain"]):
        result = uw.unlearn(model, own["forget"], given, method="retrain")
        assert same_state(state(model.model), before)
        ours = load_file(result.save(tmp_path / f"own{given is None}") / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
        assert (result.retain_rows, len(result.history)) == (6, result.steps)
    said = uw.unlearn(model, own["forget"], method="retrain", epochs=9.0).cautions
    assert "No effect has `epochs`: retrain trains by its recipe." in said


def test_retraining_without_a_recipe_says_so_and_needs_the_rows(own):
    result = uw.unlearn(own["model"], own["forget"], own["retain"], method="retrain", epochs=2.0, batch_size=3)
    assert result.steps == 4
    assert result.model.model.peft_config["default"].r == 3, "an adapter like the one that is there"
    assert "was trained anew for 2 epochs of 3 rows a step" in result.cautions[0]
    with pytest.raises(ConfigError, match="Which rows the model was trained on"):
        uw.unlearn(own["model"], own["forget"], method="retrain")
    whole = uw.Model(tiny_model("llama", dtype=torch.float32), own["tokenizer"])
    with pytest.raises(ConfigError, match="has no adapter"):
        uw.unlearn(whole, own["forget"], own["retain"], method="retrain")
