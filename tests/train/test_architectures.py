"""Fine-tuning of models that are more than a row of equal layers: with a vision tower, with experts."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration

from tests.folders import ROWS, save_model, write_rows
from tests.models.test_adapters import logits
from tests.tiny import VOCABULARY, TinyTokenizer
from unweave import progress
from unweave.attribution.caching import cache_rows
from unweave.engines.config import CacheConfig
from unweave.errors import ModelError
from unweave.jobs.config import TraceConfig
from unweave.jobs.forget import forget_rows
from unweave.jobs.trace import trace_answers
from unweave.models.loading import ModelConfig, load
from unweave.models.text import idle_on_text
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.methods.rapidun import RapidUnConfig

TEXT = {
    "vocab_size": VOCABULARY, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
}  # fmt: skip
EXPERTS = {
    "vocab_size": VOCABULARY, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1,
}  # fmt: skip


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(progress, "say", lines.append)
    return lines


def train_config(tmp_path, folder, **changes):
    options = {"epochs": 1.0, "batch_size": 4, "learning_rate": 1e-2, "lora_r": 2, "dtype": "float32", "max_length": 64}
    paths = {"data": write_rows(tmp_path / "rows.jsonl"), "output_dir": tmp_path / "trained"}
    return TrainConfig(model=str(folder), **{**paths, **options, **changes})


def test_a_model_with_a_vision_tower_works_on_text(tmp_path, said):
    torch.manual_seed(7)
    config = Gemma3Config(
        text_config=TEXT,
        vision_config=VISION,
        mm_tokens_per_image=4,
        image_token_index=3,
        boi_token_index=4,
        eoi_token_index=5,
    )
    folder = tmp_path / "gemma"
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    TinyTokenizer.make().save_pretrained(folder)
    fine_tune(train_config(tmp_path, folder))
    assert any("vision_tower" in line and "do not run on text" in line for line in said)
    trained = load(ModelConfig(model=str(tmp_path / "trained"), dtype="float32"))
    adapted = {name for name, module in trained.model.named_modules() if hasattr(module, "lora_A")}
    assert adapted
    assert not any("vision" in name or "projector" in name for name in adapted)
    store = tmp_path / "store"
    options = {"dimension": 256, "dtype": "float32", "max_length": 64, "number_format": "float32"}
    assert cache_rows(
        CacheConfig(model=str(tmp_path / "trained"), data=tmp_path / "rows.jsonl", store=store, **options)
    ).rows == len(ROWS)
    found = trace_answers(TraceConfig(store=store, prompt="add 1 and 2", completion="3", dtype="float32"))
    assert len(found.rankings[0].helpful) + len(found.rankings[0].harmful) > 0
    sets = {
        "forget": write_rows(tmp_path / "forget.jsonl", ROWS[6:]),
        "retain": write_rows(tmp_path / "retain.jsonl", ROWS[:6]),
    }
    for mode in ("continue", "new"):
        out = tmp_path / mode
        loaded = load(ModelConfig(model=str(tmp_path / "trained"), dtype="float32"))
        forget = RapidUnConfig(
            model=str(tmp_path / "trained"),
            **sets,
            output_dir=out,
            adapter_mode=mode,
            dtype="float32",
            epochs=0.5,
            learning_rate=1e-2,
        )
        forget_rows(forget, loaded=loaded)
        again = load(ModelConfig(model=str(out), dtype="float32")).model
        assert not torch.allclose(logits(again), logits(trained.model), atol=1e-4)
        if mode == "continue":
            assert torch.equal(logits(again), logits(loaded.model.eval()))


def test_only_a_model_of_several_parts_has_idle_ones():
    config = Gemma3Config(text_config=TEXT, vision_config=VISION, mm_tokens_per_image=4)
    with torch.device("meta"):
        assert idle_on_text(Gemma3ForConditionalGeneration(config)) == [
            "model.vision_tower",
            "model.multi_modal_projector",
        ]
        assert idle_on_text(AutoModelForCausalLM.from_config(config.text_config)) == []


def test_experts_are_trained_without_dropout(tmp_path, said):
    torch.manual_seed(7)
    folder = tmp_path / "mixtral"
    config = AutoConfig.for_model("mixtral", **EXPERTS)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    TinyTokenizer.make().save_pretrained(folder)
    fine_tune(train_config(tmp_path, folder, lora_dropout=0.05))
    assert any("takes no dropout" in line for line in said)
    saved = json.loads((tmp_path / "trained" / "adapter_config.json").read_text())
    assert saved["lora_dropout"] == 0.0
    assert saved["target_parameters"]
    load(ModelConfig(model=str(tmp_path / "trained"), dtype="float32"))
    # Where no expert is adapted, dropout stays.
    said.clear()
    fine_tune(train_config(tmp_path, folder, lora_targets="q_proj,v_proj", output_dir=tmp_path / "attention"))
    assert not any("dropout" in line for line in said)
    assert json.loads((tmp_path / "attention" / "adapter_config.json").read_text())["lora_dropout"] == 0.05


def test_a_tokenizer_that_is_too_large_stops_every_command(tmp_path):
    folder = save_model(tmp_path / "base")
    tokenizer = TinyTokenizer.make()
    tokenizer.add_tokens([f"new{index}" for index in range(VOCABULARY + 1 - len(tokenizer))])
    tokenizer.save_pretrained(folder)
    new = f"new{VOCABULARY - len(TinyTokenizer.make())}"
    rows = [{"instruction": "hello", "response": new}, {"instruction": "hello world", "response": "world"}]
    data = write_rows(tmp_path / "new.jsonl", rows)
    good = write_rows(tmp_path / "good.jsonl", ROWS)
    with pytest.raises(ModelError, match="has token 96"):
        fine_tune(train_config(tmp_path, folder, data=data))
    options = {"dimension": 256, "dtype": "float32", "parameters": "linear"}
    with pytest.raises(ModelError, match="has token 96"):
        cache_rows(CacheConfig(model=str(folder), data=data, store=tmp_path / "s", **options))
    with pytest.raises(ModelError, match="has token 96"):
        forget_rows(
            RapidUnConfig(model=str(folder), forget=data, retain=good, output_dir=tmp_path / "f", dtype="float32")
        )
    cache_rows(CacheConfig(model=str(folder), data=good, store=tmp_path / "s", **options))
    for question in ({"prompt": "hello", "completion": new}, {"prompt": f"{new} hello"}):
        with pytest.raises(ModelError, match="has token 96"):
            trace_answers(TraceConfig(store=tmp_path / "s", dtype="float32", **question))
