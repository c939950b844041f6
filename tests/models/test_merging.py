"""Merging: the model computes afterwards what it computed before, also when it is saved and loaded again."""

import peft
import pytest
import torch

from tests.folders import save_model
from tests.models.test_adapters import KINDS, LORA, logits, save_adapter
from unweave.errors import ModelError
from unweave.models import merging
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.models.merging import merge_adapter
from unweave.models.quiet import quiet_transformers

TIED = {
    "head": peft.LoraConfig(**LORA | {"target_modules": ["q_proj", "lm_head"]}),
    "embedding": peft.LoraConfig(**LORA | {"target_modules": ["q_proj", "embed_tokens"]}),
    "both": peft.LoraConfig(**LORA | {"target_modules": ["embed_tokens", "lm_head"]}),
    "embedding_saved": peft.LoraConfig(**LORA, modules_to_save=["embed_tokens"]),
}


@pytest.mark.parametrize("kind", [*KINDS, *TIED])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_stay_and_survive_saving(tmp_path, kind, tied):
    base = save_model(tmp_path / "base", kind="llama" if tied else "qwen2")
    expected, _ = save_adapter(tmp_path / "adapter", base, (KINDS | TIED)[kind])
    with quiet_transformers():
        merged = merge_adapter(load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32")))
    assert torch.allclose(logits(merged), expected, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    (tmp_path / "merged" / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    (tmp_path / "merged" / "tokenizer_config.json").write_bytes((base / "tokenizer_config.json").read_bytes())
    again = load(ModelConfig(model=str(tmp_path / "merged"), dtype="float32")).model
    assert torch.allclose(logits(again), expected, atol=1e-4)
    # What no adapter has touched stays one tensor.
    if tied and kind in ("dora", "ia3", "oft", "vera", "loha", "lokr"):
        assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


def test_a_merge_that_makes_another_model_is_an_error(tmp_path, monkeypatch):
    base = save_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", base, TIED["head"])
    loaded = load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32"))
    monkeypatch.setattr(merging, "untie", lambda _: False)
    with quiet_transformers(), pytest.raises(ModelError, match="another model") as raised:
        merge_adapter(loaded)
    assert "`adapter_mode` continue" in str(raised.value)


def test_what_peft_cannot_merge_is_an_error(tmp_path):
    base = save_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA, lora_bias=True))
    with pytest.raises(ModelError, match="can't be merged"):
        merge_adapter(load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32")))


def test_quantised_weights_are_not_merged_into(tmp_path):
    base = save_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA))
    loaded: Loaded = load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32"))
    loaded.model.get_base_model().is_quantized = True
    with pytest.raises(ModelError, match="quantised") as raised:
        merge_adapter(loaded)
    assert "`adapter_mode` continue" in str(raised.value)


def test_rounding_in_bfloat16_is_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(merging.progress, "say", said.append)
    base = save_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA))
    merge_adapter(load(ModelConfig(model=str(tmp_path / "adapter"), dtype="bfloat16")))
    assert any("rounded to bfloat16" in line for line in said)
