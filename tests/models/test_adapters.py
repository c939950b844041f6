"""Adapters as people have them: their own tokenizer, their base and its revision, resized embeddings, kinds other than LoRA, and what is refused."""

import copy
import json

import peft
import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from tests.folders import save_model
from tests.tiny import TEMPLATE, TinyTokenizer
from unweave import progress
from unweave.errors import ConfigError, ModelError
from unweave.models import loading
from unweave.models.adapters import adapter_parameters, switched_off
from unweave.models.loading import ModelConfig, load
from unweave.models.quiet import quiet_transformers

IDS = torch.tensor([[5, 60, 9, 80, 7, 33]])
LORA = {"r": 3, "target_modules": ["q_proj"], "init_lora_weights": False, "task_type": "CAUSAL_LM"}
TARGETS = {"target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"}
KINDS = {
    "dora": peft.LoraConfig(**LORA, use_dora=True),
    "embedding": peft.LoraConfig(**LORA | {"target_modules": ["q_proj", "embed_tokens"]}),
    "modules_to_save": peft.LoraConfig(**LORA, modules_to_save=["lm_head"]),
    "tokens": peft.LoraConfig(**LORA, trainable_token_indices=[5, 9]),
    "ia3": peft.IA3Config(**TARGETS, feedforward_modules=["down_proj"], init_ia3_weights=False),
    "oft": peft.OFTConfig(**TARGETS, r=0, oft_block_size=4, init_weights=False),
    "vera": peft.VeraConfig(target_modules=["q_proj", "o_proj"], task_type="CAUSAL_LM", r=4, init_weights=False),
    "loha": peft.LoHaConfig(**TARGETS, r=3, init_weights=False),
    "lokr": peft.LoKrConfig(**TARGETS, r=3, init_weights=False),
}


@pytest.fixture
def base(tmp_path):
    return save_model(tmp_path / "base")


def save_adapter(folder, base, config, *, tokenizer=None, embeddings=None, named=None, revision=None):
    """A PEFT folder as PEFT's own users write it, and the logits of the model."""
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
        if embeddings:
            model.resize_token_embeddings(embeddings)
        torch.manual_seed(3)
        model = get_peft_model(model, copy.deepcopy(config), autocast_adapter_dtype=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    own = model.peft_config["default"]
    own.base_model_name_or_path, own.revision = named or str(base), revision
    with quiet_transformers():
        model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return logits(model), [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(input_ids=ids).logits


def changed_template():
    tokenizer = TinyTokenizer.make()
    tokenizer.chat_template = TEMPLATE.replace("<|im_start|> ' + message", "Instruction : ' + message")
    return tokenizer


def test_the_adapters_own_template_is_used_and_the_difference_said(base, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(progress, "say", said.append)
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA), tokenizer=changed_template())
    loaded = load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32"))
    assert "Instruction" in loaded.tokenizer.chat_template
    assert any("another chat template" in line for line in said)
    said.clear()
    save_adapter(tmp_path / "same", base, peft.LoraConfig(**LORA), tokenizer=TinyTokenizer.make())
    load(ModelConfig(model=str(tmp_path / "same"), dtype="float32"))
    assert not said


def test_a_template_beside_an_adapter_without_a_vocabulary(base, tmp_path):
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA))
    (tmp_path / "adapter" / "chat_template.jinja").write_text("{{ messages }}")
    assert load(ModelConfig(model=str(tmp_path / "adapter"))).tokenizer.chat_template == "{{ messages }}"


def test_embeddings_are_resized_to_the_adapters(base, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(progress, "say", said.append)
    tokenizer = TinyTokenizer.make()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<tool>", "</tool>"]})
    config = peft.LoraConfig(**LORA, modules_to_save=["embed_tokens", "lm_head"])
    expected, _ = save_adapter(tmp_path / "more", base, config, tokenizer=tokenizer, embeddings=100)
    loaded = load(ModelConfig(model=str(tmp_path / "more"), dtype="float32"))
    assert torch.allclose(logits(loaded.model), expected, atol=1e-5)
    assert any("100 embeddings, the base has 96" in line for line in said)
    assert any("2 more tokens (</tool>, <tool>)" in line for line in said)
    # PEFT saves embeddings that were resized and not trained as the base's.
    expected, _ = save_adapter(tmp_path / "plain", base, peft.LoraConfig(**LORA), embeddings=100)
    loaded = load(ModelConfig(model=str(tmp_path / "plain"), dtype="float32"))
    assert torch.allclose(logits(loaded.model), expected, atol=1e-5)
    # A base that has more of them than the tokenizer needs is cut by some trainers.
    expected, _ = save_adapter(tmp_path / "fewer", base, peft.LoraConfig(**LORA), embeddings=90)
    assert torch.allclose(
        logits(load(ModelConfig(model=str(tmp_path / "fewer"), dtype="float32")).model), expected, atol=1e-5
    )


def test_the_base_is_loaded_at_the_revision_that_the_adapter_names(base, tmp_path, monkeypatch):
    seen = []

    def spy(place, config, *, revision, adapter, **options):
        seen.append((place, revision))
        return load_base(str(base), config, revision=None, adapter=adapter, **options)

    load_base = loading.load_base
    monkeypatch.setattr(loading, "load_base", spy)
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA), named="owner/name", revision="v1.2")
    folder = str(tmp_path / "adapter")
    loaded = load(ModelConfig(model=folder))
    assert (loaded.base, loaded.revision) == ("owner/name", "v1.2")
    load(ModelConfig(model=folder, revision="main"))
    load(ModelConfig(model="owner/name", adapter=tmp_path / "adapter"))
    load(ModelConfig(model="other/name", adapter=tmp_path / "adapter"))
    assert seen == [("owner/name", "v1.2"), ("owner/name", "main"), ("owner/name", "v1.2"), ("other/name", None)]


def test_what_is_saved_names_the_revision_again(base, tmp_path):
    from unweave.train.adapters import save_adapter as save

    expected, _ = save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA))
    loaded = load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32"))
    with quiet_transformers():
        save(loaded.model, loaded.tokenizer, tmp_path / "again", base="owner/name", revision="v1.2")
    said = json.loads((tmp_path / "again" / "adapter_config.json").read_text())
    assert (said["base_model_name_or_path"], said["revision"]) == ("owner/name", "v1.2")
    again = load(ModelConfig(model=str(base), adapter=tmp_path / "again", dtype="float32"))
    assert torch.equal(logits(again.model), expected)


def test_a_base_that_is_not_there_names_the_adapter_and_the_remedy(base, tmp_path):
    folder = tmp_path / "adapter"
    for named in ("/mnt/elsewhere/model", "out/base", "./base2", "nobody/nothing-at-all"):
        expected, _ = save_adapter(folder, base, peft.LoraConfig(**LORA), named=named)
        with pytest.raises(ModelError, match="base model can't be loaded") as raised:
            load(ModelConfig(model=str(folder)))
        assert named in str(raised.value)
        assert f"`model` BASE `adapter` {folder}" in str(raised.value)
    loaded = load(ModelConfig(model=str(base), adapter=folder, dtype="float32"))
    assert torch.equal(logits(loaded.model), expected)


def test_a_base_is_found_beside_an_adapter_that_was_moved(tmp_path):
    base = save_model(tmp_path / "run" / "base")
    expected, _ = save_adapter(tmp_path / "run", base, peft.LoraConfig(**LORA), named="out/run/base")
    loaded = load(ModelConfig(model=str(tmp_path / "run"), dtype="float32"))
    assert loaded.base == str(base)
    assert torch.equal(logits(loaded.model), expected)


def test_a_whole_model_in_the_adapters_folder_is_its_base(tmp_path):
    both = save_model(tmp_path / "both")
    expected, _ = save_adapter(tmp_path / "alone", both, peft.LoraConfig(**LORA), named="/mnt/elsewhere/model")
    for file in (tmp_path / "alone").iterdir():
        (both / file.name).write_bytes(file.read_bytes())
    for config in (
        ModelConfig(model=str(both), dtype="float32"),
        ModelConfig(model=str(both), adapter=both, dtype="float32"),
    ):
        loaded = load(config)
        assert isinstance(loaded.model, PeftModel)
        assert torch.equal(logits(loaded.model), expected)


def test_an_adapter_on_an_adapter_is_refused(base, tmp_path):
    save_adapter(tmp_path / "first", base, peft.LoraConfig(**LORA))
    save_adapter(tmp_path / "second", base, peft.LoraConfig(**LORA), named=str(tmp_path / "first"))
    with pytest.raises(ModelError, match="is an adapter itself"):
        load(ModelConfig(model=str(tmp_path / "second")))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_knows_what_it_trains_and_can_be_switched_off(base, tmp_path, kind):
    expected, trained = save_adapter(tmp_path / "adapter", base, KINDS[kind])
    loaded = load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32"))
    assert torch.equal(logits(loaded.model), expected)
    assert list(adapter_parameters(loaded.model)) == trained
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    plain = logits(load(ModelConfig(model=str(base), dtype="float32")).model)
    with switched_off(loaded.model):
        assert torch.equal(logits(loaded.model), plain)
    assert not torch.allclose(expected, plain, atol=1e-3)


def test_biases_that_an_adapter_trains_belong_to_it(tmp_path):
    base = save_model(tmp_path / "base", kind="gpt_neox")
    config = peft.LoraConfig(r=3, target_modules=["query_key_value"], bias="all", task_type="CAUSAL_LM")
    _, trained = save_adapter(tmp_path / "adapter", base, config)
    loaded = load(ModelConfig(model=str(tmp_path / "adapter"), dtype="float32"))
    assert list(adapter_parameters(loaded.model)) == trained
    assert any(name.endswith("bias") for name in trained)
    with pytest.raises(ModelError, match="other biases"), switched_off(loaded.model):
        pass


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        peft.PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=8, task_type="CAUSAL_LM"),
    ],
    ids=lambda config: config.peft_type.value,
)
def test_adapters_that_change_no_weights_are_refused_by_name(base, tmp_path, config):
    save_adapter(tmp_path / "adapter", base, config)
    with pytest.raises(ModelError, match=config.peft_type.value) as raised:
        load(ModelConfig(model=str(tmp_path / "adapter")))
    assert "LoRA" in str(raised.value)


def test_faults_of_an_adapters_folder(base, tmp_path):
    folder = tmp_path / "adapter"
    save_adapter(folder, base, peft.LoraConfig(**LORA))
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    whole, tensors = json.loads(config.read_text()), weights.read_bytes()

    def refused(match):
        with pytest.raises(ModelError, match=match) as raised:
            load(ModelConfig(model=str(folder)))
        assert raised.value.remedy

    config.write_text("{")
    refused("can't be read")
    config.write_text("[]")
    refused("names no kind")
    config.write_text(json.dumps(whole | {"peft_type": "TELEPATHY"}))
    refused("knows no adapter of the kind TELEPATHY")
    config.write_text(json.dumps({key: value for key, value in whole.items() if key != "base_model_name_or_path"}))
    refused("names no base model")
    config.write_text(json.dumps(whole))
    weights.write_bytes(tensors[:-40])
    refused("can't be loaded")
    weights.unlink()
    refused("has no adapter_model.safetensors")
    (folder / "adapter_model.bin").write_bytes(b"")
    refused("only adapter_model.bin")
    (folder / "adapter_model.bin").unlink()
    weights.write_bytes(tensors)
    # An adapter of another model: with another width, or with other layers.
    config.write_text(json.dumps(whole | {"r": 5}))
    refused("does not fit")
    config.write_text(json.dumps(whole | {"target_modules": ["q_proj", "v_proj"]}))
    refused("no weights for")
    config.write_text(json.dumps(whole | {"layers_to_transform": [0]}))
    refused("no place for")
    config.write_text(json.dumps(whole | {"target_modules": ["nothing"]}))
    refused("does not fit")


def test_two_adapters_are_one_too_many(base, tmp_path):
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA))
    with pytest.raises(ConfigError, match="Two adapters"):
        load(ModelConfig(model=str(tmp_path / "adapter"), adapter=tmp_path / "adapter"))
