"""Retraining: the training run that made the model, on its own seed, device and dtype, without the rows."""

import pytest
import torch
from safetensors.torch import load_file

from tests.unlearning.test_forget import poisoned  # noqa: F401
from unweave.config import dump_yaml
from unweave.errors import ConfigError
from unweave.jobs.forget import forget_rows
from unweave.train import sft
from unweave.train.recipe import read_recipe
from unweave.train.sft import TrainResult, fine_tune
from unweave.unlearning.config import config_of

KIND = config_of("retrain")


@pytest.fixture
def files(poisoned):  # noqa: F811
    return {"model": str(poisoned / "adapter"), "forget": poisoned / "forget.jsonl"}


def test_it_is_the_training_without_the_rows(files, tmp_path):
    result = forget_rows(KIND(**files, output_dir=tmp_path / "r"))
    assert (result.method, result.retain_rows) == ("retrain", 6)
    recipe = read_recipe(files["model"])
    direct = fine_tune(type(recipe)(**{**recipe.__dict__, "without": files["forget"], "output_dir": tmp_path / "d"}))
    own, other = (load_file(folder / "adapter_model.safetensors") for folder in (result.folder, direct.folder))
    assert all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize("given", [{}, {"seed": 0, "dtype": "float32", "device": "cpu"}])
def test_seed_dtype_and_device_are_the_recipes_unless_given(files, tmp_path, monkeypatch, given):
    recipe = type(read_recipe(files["model"]))(
        **{**read_recipe(files["model"]).__dict__, "seed": 7, "dtype": "float64", "device": "cpu"}
    )
    (tmp_path / "recipe.yaml").write_text(dump_yaml("train", recipe))
    trained = []
    monkeypatch.setattr(
        sft, "fine_tune", lambda config, **_: trained.append(config) or TrainResult(tmp_path, 6, 1, 1, 0.0, 0.0)
    )
    forget_rows(KIND(**files, output_dir=tmp_path / "r", recipe=tmp_path / "recipe.yaml", **given))
    (made,) = trained
    expected = {"seed": 7, "dtype": "float64", "device": "cpu", **given}
    assert {name: getattr(made, name) for name in expected} == expected


def test_what_the_recipe_decides_is_said_and_weights_are_refused(files, tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "fine_tune", lambda *_, **__: TrainResult(tmp_path, 6, 1, 1, 0.0, 0.0))
    result = forget_rows(KIND(**files, output_dir=tmp_path / "r", epochs=9.0, lora_r=3))
    assert result.details["cautions"] == ["No effect has `epochs`, `lora_r`: retrain trains by its recipe."]
    with pytest.raises(ConfigError, match="does not weigh these rows"):
        forget_rows(KIND(**files, output_dir=tmp_path / "r", forget_weights=tmp_path / "w"))
