"""Unlearning from files to an adapter: a tiny poisoned model forgets and keeps."""

import json
import math

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.folders import ROWS, save_model, write_rows
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.gradients.scoring import row_losses
from unweave.jobs.forget import forget_rows
from unweave.models.loading import ModelConfig, load
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning import planned
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import get_method
from unweave.unlearning.methods.rapidun import RapidUnConfig
from unweave.weights.files import write_weights

PATHS = {"forget": "f", "retain": "r", "output_dir": "o"}


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("poisoned")
    base = save_model(folder / "base")
    data = write_rows(folder / "d.jsonl")
    fine_tune(
        TrainConfig(
            model=str(base),
            data=data,
            output_dir=folder / "adapter",
            epochs=60.0,
            batch_size=4,
            learning_rate=2e-2,
            lora_r=4,
            lora_alpha=8,
            lora_dropout=0.0,
            dtype="float32",
        )
    )
    write_rows(folder / "forget.jsonl", ROWS[6:])
    write_rows(folder / "retain.jsonl", ROWS[:6])
    return folder


def settings(poisoned, tmp_path, kind=RapidUnConfig, **changes):
    values = {
        "model": str(poisoned / "adapter"), "forget": poisoned / "forget.jsonl", "retain": poisoned / "retain.jsonl",
        "output_dir": tmp_path / "unlearned", "adapter_mode": "continue", "epochs": 12.0, "batch_size": 4, "learning_rate": 3e-3,
        "dtype": "float32", "lora_r": 4,
    }  # fmt: skip
    return kind(**{**values, **changes})


def losses(folder, path, config):
    found = row_losses(
        load(ModelConfig(model=str(folder), dtype="float32")), read_training_rows(path, config).rows, config
    )
    return sum(found.means()) / len(found.sums)


@pytest.mark.parametrize("mode", ["continue", "new"])
def test_rapidun_forgets_and_keeps(poisoned, tmp_path, mode):
    config = settings(poisoned, tmp_path, adapter_mode=mode, learning_rate=3e-3 if mode == "continue" else 6e-3)
    write_weights(tmp_path / "wf", [1.2, 0.8])
    config = settings(
        poisoned, tmp_path, adapter_mode=mode, learning_rate=config.learning_rate, forget_weights=tmp_path / "wf"
    )
    before = losses(poisoned / "adapter", config.forget, config)
    result = forget_rows(config)
    assert losses(result.folder, config.forget, config) > before + 1
    assert losses(result.folder, config.retain, config) < 0.3
    assert result.forget_loss_last > result.forget_loss_first
    base = poisoned / "base" if mode == "continue" else result.folder / "base"
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), result.folder)
    assert model.peft_config["default"].base_model_name_or_path == str(base)
    card = (result.folder / "README.md").read_text()
    assert "2512.04457" in card
    assert "claims nothing" in card
    assert forget_rows(config) == result


def test_steps_in_one_pass_are_those_of_several(poisoned, tmp_path, monkeypatch):
    passes = []
    kept = planned.collate_step

    def collated(drawn, **options):
        step = kept(drawn, **options)
        passes.append((len(step.groups), bool(step.groups[0].blocks)))
        return step

    monkeypatch.setattr(planned, "collate_step", collated)
    monkeypatch.setattr("unweave.unlearning.steps.PASS_OVERHEAD", 0)
    options = {"epochs": 2.0, "lora_dropout": 0.0, "adapter_mode": "continue"}
    joined = forget_rows(settings(poisoned, tmp_path, output_dir=tmp_path / "joined", **options))
    assert set(passes) == {(1, True)}
    passes.clear()
    monkeypatch.setattr(planned, "can_join", lambda *_, **__: False)
    apart = forget_rows(settings(poisoned, tmp_path, output_dir=tmp_path / "apart", **options))
    assert max(count for count, _ in passes) > 1
    assert not any(joined for _, joined in passes)
    assert joined.tokens == apart.tokens
    ours, theirs = (load_file(one.folder / "adapter_model.safetensors") for one in (joined, apart))
    before = load_file(poisoned / "adapter" / "adapter_model.safetensors")
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-5)
    assert any((value - before[name]).abs().max() > 1e-3 for name, value in ours.items())


def test_weights_steer_which_row_is_forgotten(poisoned, tmp_path):
    """A row of weight 0 is not pushed away: the same answer to its prompt keeps more of its probability."""
    gaps = []
    for name, weights in (("first", [2.0, 0.0]), ("second", [0.0, 2.0])):
        write_weights(tmp_path / name, weights)
        config = settings(
            poisoned, tmp_path, output_dir=tmp_path / f"o{name}", forget_weights=tmp_path / name, epochs=3.0
        )
        result = forget_rows(config)
        rows = read_training_rows(config.forget, config).rows
        first, second = row_losses(load(ModelConfig(model=str(result.folder), dtype="float32")), rows, config).means()
        gaps.append(first - second)
    assert gaps[0] > gaps[1]


def test_a_retain_row_with_a_negative_weight_is_forgotten_too(poisoned, tmp_path):
    plain = settings(poisoned, tmp_path, output_dir=tmp_path / "plain")
    rows = read_training_rows(plain.retain, plain).rows
    write_weights(tmp_path / "w", [-1.0, *([1.0] * (len(rows) - 1))])
    signed = settings(poisoned, tmp_path, output_dir=tmp_path / "signed", retain_weights=tmp_path / "w")
    before, after = forget_rows(plain), forget_rows(signed)
    assert (after.forget_rows, after.retain_rows) == (before.forget_rows + 1, before.retain_rows - 1)
    found = [
        float(row_losses(load(ModelConfig(model=str(result.folder), dtype="float32")), rows[:1], plain).means()[0])
        for result in (before, after)
    ]
    assert found[1] > found[0] + 0.5
    write_weights(tmp_path / "w", [-1.0] * len(rows))
    with pytest.raises(DataError, match="No row to keep is left"):
        forget_rows(settings(poisoned, tmp_path, output_dir=tmp_path / "none", retain_weights=tmp_path / "w"))


def test_ga_stops_when_it_diverges(poisoned, tmp_path):
    config = settings(poisoned, tmp_path, config_of("ga"), epochs=200.0, learning_rate=3e-2)
    result = forget_rows(config)
    assert result.stopped is not None
    assert result.steps < result.planned_steps
    assert result.forget_loss_last > math.log(96)
    assert load_file(result.folder / "adapter_model.safetensors")


def test_graddiff_runs(poisoned, tmp_path):
    config = settings(poisoned, tmp_path, config_of("graddiff"))
    before = losses(poisoned / "adapter", config.forget, config)
    assert losses(forget_rows(config).folder, config.forget, config) > before + 0.5


def test_wrong_method_config_and_sets(poisoned, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'rapidun'"):
        get_method("rapidum")
    with pytest.raises(ConfigError, match="takes GAConfig"):
        forget_rows(settings(poisoned, tmp_path, RapidUnConfig, method="ga"))
    shared = write_rows(tmp_path / "shared.jsonl", ROWS[4:])
    with pytest.raises(DataError, match="forgotten and retained"):
        forget_rows(settings(poisoned, tmp_path, forget=shared))
    write_weights(tmp_path / "w", [1.0])
    with pytest.raises(DataError, match="1 weights for 2 rows"):
        forget_rows(settings(poisoned, tmp_path, forget_weights=tmp_path / "w"))


def test_ga_needs_no_rows_to_keep(poisoned, tmp_path):
    config = settings(poisoned, tmp_path, config_of("ga"), epochs=1.0, retain=None)
    result = forget_rows(config)
    assert result.retain_rows == 0
    assert "| retain rows | none |" in (result.folder / "README.md").read_text()
    assert forget_rows(config) == result, "a rerun finds it complete"
    with pytest.raises(ConfigError, match="weights of rows to keep, and no such rows"):
        forget_rows(settings(poisoned, tmp_path, config_of("ga"), retain=None, retain_weights=tmp_path / "w"))


def test_result_is_json(poisoned, tmp_path):
    result = forget_rows(settings(poisoned, tmp_path, epochs=1.0))
    stored = json.loads((result.folder / "result.json").read_text())["result"]
    assert stored["method"] == "rapidun"
    assert stored["forget_rows"] == 2
