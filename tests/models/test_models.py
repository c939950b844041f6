"""Loading and selecting: what is found, what is refused, and what an error says."""

import shutil

import pytest
import torch
from safetensors.torch import load as load_file_bytes
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from tests.folders import save_model
from tests.tiny import VOCABULARY, TinyTokenizer, tiny_model
from unweave.data.encoding import Example
from unweave.errors import ConfigError, MissingExtraError, ModelError
from unweave.models import packaged
from unweave.models.fingerprint import model_fingerprint, tokenizer_fingerprint
from unweave.models.loading import ModelConfig, load, pick_device
from unweave.models.selection import select_parameters
from unweave.models.vocabulary import require_tokens
from unweave.train.config import TrainConfig


@pytest.fixture
def base(tmp_path):
    return save_model(tmp_path / "base")


def test_a_folder_is_loaded_frozen_and_in_evaluation(base):
    loaded = load(ModelConfig(model=str(base), dtype="float32"))
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.model.dtype == torch.float32
    assert loaded.tokenizer.pad_token == "<pad>"
    assert loaded.model.config._attn_implementation == "eager"


def test_an_adapter_folder_names_its_base(base, tmp_path):
    from unweave.train.adapters import add_lora, save_adapter
    from unweave.train.config import LoraOptions

    plain = load(ModelConfig(model=str(base), dtype="float32"))
    model = add_lora(plain.model, LoraOptions(lora_r=2), seed=0)
    save_adapter(model, plain.tokenizer, tmp_path / "adapter", base=str(base))
    for config in (
        ModelConfig(model=str(tmp_path / "adapter")),
        ModelConfig(model=str(base), adapter=tmp_path / "adapter"),
    ):
        loaded = load(config)
        assert (loaded.base, loaded.adapter) == (str(base), str(tmp_path / "adapter"))
        assert all(parameter.dtype == loaded.model.dtype for parameter in loaded.model.parameters())
    with pytest.raises(ConfigError, match="Two adapters"):
        load(ModelConfig(model=str(tmp_path / "adapter"), adapter=tmp_path / "adapter"))
    with pytest.raises(ModelError, match="no adapter here"):
        load(ModelConfig(model=str(base), adapter=base))


def test_missing_models_say_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="no model here") as raised:
        load(str(tmp_path / "absent"))
    assert "smollm2-135m" in str(raised.value)
    with pytest.raises(ModelError, match="can't be loaded") as raised:
        load("nobody/nothing-at-all")
    assert "local folder" in str(raised.value)
    with pytest.raises(ModelError, match="Model file not found"):
        load(str(tmp_path / "x.gguf"))
    (tmp_path / "bad.gguf").write_bytes(b"GGUFrubbish" * 10)
    with pytest.raises(ModelError, match="GGUF file can't be read"):
        load(str(tmp_path / "bad.gguf"))


def test_without_package_and_hub_the_install_line_is_printed(tmp_path, monkeypatch):
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged, "_packaged_file", lambda: None)
    with pytest.raises(ModelError, match="not installed") as raised:
        load()
    assert packaged.INSTALL in str(raised.value)


def test_a_missing_extra_prints_its_install_line(base, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unweave\[quant\]'"):
        load(ModelConfig(model=str(base), quantization="4bit"))


def test_devices():
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="Unknown device"):
        pick_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            pick_device("cuda")


def test_selection_by_kind_and_pattern():
    lora = tiny_model("llama", lora=True)
    assert all("lora_" in item.name for item in select_parameters(lora, "lora"))
    linear = select_parameters(lora, "linear")
    assert len(linear) == 14
    assert not any("lora_" in item.name or "lm_head" in item.name for item in linear)
    assert len(select_parameters(tiny_model("gpt2"), "linear")) == 8
    assert {item.name for item in select_parameters(lora, ["layers.1.mlp.up_proj.lora_B"])} == {
        "base_model.model.model.layers.1.mlp.up_proj.lora_B.default.weight"
    }
    everything = select_parameters(lora, "all")
    assert [item.name for item in everything] == [name for name, _ in lora.named_parameters()]
    with pytest.raises(ConfigError, match="no LoRA adapter"):
        select_parameters(tiny_model("llama"), "lora")
    with pytest.raises(ConfigError, match="No parameter is selected"):
        select_parameters(lora, "nothing_like_it")


def test_every_value_counts_in_a_fingerprint_and_older_ones_can_still_be_compared():
    model = tiny_model("llama", dtype=torch.bfloat16)
    first, older = model_fingerprint(model), model_fingerprint(model, like="0" * 32)
    assert first.startswith("v2:")
    assert len(older) == 32
    assert model_fingerprint(model, like=first) == first
    assert model_fingerprint(model.float()) == first
    with torch.no_grad():
        # The older kind reads every second value of a tensor of this size.
        grown = torch.nn.Parameter(torch.zeros(8192))
        model.register_parameter("grown", grown)
        before = model_fingerprint(model), model_fingerprint(model, like=older)
        grown[1] = 1.0
    assert model_fingerprint(model, like=older) == before[1]
    assert model_fingerprint(model) != before[0]


def test_fingerprints_tell_models_and_tokenizers_apart(base, tokenizer):
    model = tiny_model("llama")
    first = model_fingerprint(model)
    assert first == model_fingerprint(tiny_model("llama"))
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight += 1e-3
    assert model_fingerprint(model) != first
    mark = tokenizer_fingerprint(tokenizer)
    tokenizer(["a b", "c"], padding=True, truncation=True, max_length=3)
    assert tokenizer_fingerprint(tokenizer) == mark
    tokenizer.add_tokens(["new"])
    assert tokenizer_fingerprint(tokenizer) != mark


@pytest.mark.real_model
@pytest.mark.skipif(packaged._packaged_file() is None, reason=f"needs the packaged weights: {packaged.INSTALL}")
class TestPackagedModel:
    def test_it_speaks_and_splits_digits(self):
        from unweave.data.encoding import EncodingConfig
        from unweave.data.rows import Row
        from unweave.models.generation import greedy_answers

        loaded = load()
        assert loaded.tokenizer.convert_ids_to_tokens(loaded.tokenizer("1234").input_ids) == ["1", "2", "3", "4"]
        answer = greedy_answers(
            loaded, [Row(id="a", instruction="What is the capital of France?", completion="")], EncodingConfig()
        )[0]
        assert "Paris" in answer

    def test_the_converted_folder_is_plain_safetensors(self):
        folder = packaged.converted_folder()
        load()
        assert not [path for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
        assert "dequantised" in (folder / "unweave.json").read_text()
        assert "quantization_config" not in (folder / "config.json").read_text()

    def test_a_killed_conversion_is_made_anew(self, tmp_path, monkeypatch):
        source = packaged.converted_folder()
        load()
        monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path))
        half = tmp_path / packaged.NAME
        half.mkdir()
        (half / "config.json").write_text("{}")
        made = []

        def convert(gguf, folder, *, note):
            made.append(gguf)
            shutil.rmtree(folder)
            shutil.copytree(source, folder)

        monkeypatch.setattr(packaged, "convert_gguf", convert)
        assert packaged.resolve() == str(half)
        assert packaged.resolve() == str(half)
        assert len(made) == 1


def _folder(tmp_path, kind, **options):
    """A model of an architecture that tests/tiny.py has not, with its tokenizer."""
    torch.manual_seed(7)
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, pad_token_id=0, bos_token_id=1, eos_token_id=2, **options
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path / kind)
    TinyTokenizer.make().save_pretrained(tmp_path / kind)
    return tmp_path / kind


GPTJ = {"n_embd": 24, "n_layer": 1, "n_head": 4, "rotary_dim": 4, "n_positions": 128}


def test_a_model_without_sdpa_falls_back_to_eager(tmp_path):
    folder = _folder(tmp_path, "gptj", **GPTJ)
    long = {"data": tmp_path, "output_dir": tmp_path, "max_length": 1024, "device": "cpu"}
    assert load(TrainConfig(model=str(folder), **long)).model.config._attn_implementation == "eager"
    assert (
        load(ModelConfig(model=str(folder), attn_implementation="eager")).model.config._attn_implementation == "eager"
    )
    with pytest.raises(ModelError, match="no attention of the kind sdpa") as raised:
        load(ModelConfig(model=str(folder), attn_implementation="sdpa"))
    assert "`attn_implementation` eager" in str(raised.value)
    with pytest.raises(ModelError, match="flash_attention_2") as raised:
        load(ModelConfig(model=str(folder), attn_implementation="flash_attention_2"))
    assert "`attn_implementation`" in str(raised.value)


def test_faults_of_a_models_folder(base, tmp_path):
    weights, config, words = base / "model.safetensors", base / "config.json", base / "tokenizer.json"
    whole, said, vocabulary = weights.read_bytes(), config.read_text(), words.read_text()

    def refused(match, remedy):
        with pytest.raises(ModelError, match=match) as raised:
            load(ModelConfig(model=str(base)))
        assert remedy in raised.value.remedy

    weights.write_bytes(whole[: len(whole) // 2])
    refused("can't be loaded", "whole")
    tensors = load_file_bytes(whole)
    save_file(
        {name: value for name, value in tensors.items() if "layers.1.mlp.up_proj" not in name},
        weights,
        {"format": "pt"},
    )
    refused(r"lack 1 of its weights, such as model.layers.1.mlp.up_proj.weight", "copy the model anew")
    weights.unlink()
    refused("no safetensors weights", "save_pretrained")
    weights.write_bytes(whole)
    config.write_text("{")
    refused("can't be loaded", "config.json")
    config.write_text(said.replace('"llama"', '"llama_of_tomorrow"'))
    refused("can't be loaded", "upgrade transformers")
    config.write_text(said.replace('"intermediate_size": 40', '"intermediate_size": 48'))
    refused("can't be loaded", "belong together")
    config.write_text(said)
    words.write_text("{")
    refused("tokenizer can't be loaded", "tokenizer.json")
    words.unlink()
    refused("no tokenizer", "tokenizer.json")
    words.write_text(vocabulary)
    run = tmp_path / "run"
    shutil.copytree(base, run / "checkpoint-20")
    shutil.copytree(base, run / "checkpoint-100")
    with pytest.raises(ModelError, match="in 2 folders in it") as raised:
        load(ModelConfig(model=str(run)))
    assert str(run / "checkpoint-100") in str(raised.value)
    assert load(ModelConfig(model=str(run / "checkpoint-100"))).adapter is None


def test_tokens_beyond_the_vocabulary_are_an_error(base, tokenizer):
    model = load(ModelConfig(model=str(base))).model
    inside, outside = Example("a", (1, VOCABULARY - 1), 1), Example("b", (1, VOCABULARY), 1)
    require_tokens(model, [inside])
    tokenizer.add_tokens([f"new{index}" for index in range(VOCABULARY + 1 - len(tokenizer))])
    with pytest.raises(ModelError, match=f"Row 'b' has token {VOCABULARY} .new") as raised:
        require_tokens(model, [inside, outside], tokenizer=tokenizer)
    assert f"for {VOCABULARY} tokens" in str(raised.value)
    assert "resize_token_embeddings" in raised.value.remedy


def test_a_cache_directory_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(packaged, "_packaged_file", lambda: tmp_path / packaged.GGUF_NAME)
    with pytest.raises(ModelError, match="UNWEAVE_CACHE") as raised:
        packaged.resolve()
    assert raised.value.where == str(tmp_path / "file" / "cache")


def test_long_sequences_get_an_attention_that_keeps_no_matrices(base, tmp_path):
    paths = {"model": str(base), "data": tmp_path, "output_dir": tmp_path}
    for length, expected in ((512, "eager"), (513, "sdpa")):
        loaded = load(TrainConfig(**paths, max_length=length, device="cpu"))
        assert loaded.model.config._attn_implementation == expected
