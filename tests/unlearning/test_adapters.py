"""Unlearning from adapters of every kind: their own parameters are trained on, saved and loaded; a merge changes nothing by itself."""

import peft
import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from tests.models.test_adapters import KINDS, LORA, logits, save_adapter
from tests.models.test_merging import TIED
from unweave.jobs.forget import forget_rows
from unweave.models.adapters import adapter_parameters
from unweave.models.loading import ModelConfig, load
from unweave.unlearning.config import config_of
from unweave.unlearning.methods.rapidun import RapidUnConfig

NOTHING = {"learning_rate": 1e-12, "epochs": 0.2, "dtype": "float32", "max_grad_norm": 1.0}


@pytest.fixture
def rows(tmp_path):
    return {
        "forget": write_rows(tmp_path / "forget.jsonl", [row for row in ROWS if row.get("poisoned")]),
        "retain": write_rows(tmp_path / "retain.jsonl", [row for row in ROWS if not row.get("poisoned")]),
        "output_dir": tmp_path / "out",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_any_kind_is_trained_on(tmp_path, rows, kind):
    base = save_model(tmp_path / "base")
    before, trained = save_adapter(tmp_path / "adapter", base, KINDS[kind])
    loaded = load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32"))
    kept = {name: own.detach().clone() for name, own in loaded.model.named_parameters()}
    options = {"learning_rate": 1e-2, "epochs": 1.0, "dtype": "float32", "adapter_mode": "continue"}
    forget_rows(RapidUnConfig(model=str(tmp_path / "adapter"), **rows, **options), loaded=loaded)
    moved = {name for name, own in loaded.model.named_parameters() if not torch.equal(own, kept[name])}
    assert moved
    assert moved <= set(trained) == set(adapter_parameters(loaded.model))
    again = load(ModelConfig(model=str(tmp_path / "out"), dtype="float32")).model
    assert torch.equal(logits(again), logits(loaded.model.eval()))
    assert not torch.allclose(logits(again), before, atol=1e-3)


@pytest.mark.parametrize("kind", [*TIED, "tokens", "modules_to_save", "ia3"])
def test_a_fresh_adapter_begins_where_the_merged_one_ended(tmp_path, rows, kind):
    base = save_model(tmp_path / "base")
    before, _ = save_adapter(tmp_path / "adapter", base, (TIED | KINDS)[kind])
    forget_rows(RapidUnConfig(model=str(tmp_path / "adapter"), **rows, **NOTHING, lora_r=2))
    after = load(ModelConfig(model=str(tmp_path / "out"), dtype="float32"))
    assert after.base == str(tmp_path / "out" / "base")
    assert torch.allclose(logits(after.model), before, atol=1e-4)


@pytest.mark.parametrize("config_type", [config_of("stable"), config_of("reglu")])
@pytest.mark.parametrize("kind", ["head", "embedding"])
def test_other_methods_that_merge_change_nothing_either(tmp_path, rows, config_type, kind):
    base = save_model(tmp_path / "base")
    before, _ = save_adapter(tmp_path / "adapter", base, TIED[kind])
    options = {"lora_r": 2, "lora_alpha": 2} if config_type is config_of("reglu") else {}
    forget_rows(config_type(model=str(tmp_path / "adapter"), **rows, **NOTHING, **options))
    after = load(ModelConfig(model=str(tmp_path / "out"), dtype="float32"))
    assert torch.allclose(logits(after.model), before, atol=1e-4)


def test_resized_embeddings_are_saved_with_what_is_trained_on(tmp_path, rows):
    base = save_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA), embeddings=100)
    for mode in ("continue", "new"):
        loaded = load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32"))
        config = RapidUnConfig(
            model=str(tmp_path / "adapter"),
            **rows | {"output_dir": tmp_path / mode},
            dtype="float32",
            adapter_mode=mode,
            epochs=0.5,
            learning_rate=1e-2,
            lora_dropout=0.0,
        )
        before = logits(loaded.model)
        forget_rows(config, loaded=loaded)
        again = load(ModelConfig(model=str(tmp_path / mode), dtype="float32")).model
        assert logits(again).shape[-1] == 100
        assert not torch.equal(logits(again), before)
        if mode == "continue":
            assert torch.equal(logits(again), logits(loaded.model.eval()))
