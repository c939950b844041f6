"""The base of an adapter: written down by path and content, found again, and never another one."""

import json
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.folders import save_model, write_rows
from tests.models.test_adapters import LORA
from tests.models.test_adapters import save_adapter as save_with_peft
from unweave import progress
from unweave.cli.main import main
from unweave.errors import ModelError
from unweave.models.loading import ModelConfig, load
from unweave.train.recipe import read_recipe


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with models/base and tuned, an adapter that was trained with a relative path."""
    (tmp_path / "a" / "models").mkdir(parents=True)
    save_model(tmp_path / "a" / "models" / "base")
    write_rows(tmp_path / "a" / "rows.jsonl")
    monkeypatch.chdir(tmp_path / "a")
    call = "train --model models/base --data rows.jsonl --output-dir tuned --epochs 0.5 --dtype float32 --snapshots 0.5"
    assert main(call.split()) == 0
    return tmp_path / "a"


def weights(loaded):
    return loaded.model.state_dict()


def change(path):
    save_file({name: own + 1 for name, own in load_file(path).items()}, path, metadata={"format": "pt"})


def test_a_relative_base_is_written_absolute_and_with_its_digest(place, tmp_path, monkeypatch):
    for folder in (place / "tuned", place / "tuned" / "snapshots" / "50"):
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(place / "models" / "base")
        assert list(json.loads((folder / "base.json").read_text())["weights"]) == ["model.safetensors"]
        assert str(place / "models" / "base") in (place / "tuned" / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    assert load("a/tuned").base == str(place / "models" / "base")
    assert read_recipe("a/tuned").model == str(place / "models" / "base")


def test_a_folder_that_is_not_there_is_never_looked_for_on_the_hub(place, monkeypatch):
    shutil.rmtree(place / "models")

    def asked(*args, **kwargs):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.file_download._hf_hub_download_to_cache_dir", asked)
    for folder in ("tuned", "tuned/snapshots/50"):
        with pytest.raises(ModelError, match="not looked for on the hub") as raised:
            load(folder)
        assert str(place / "models" / "base") in raised.value.where
        assert raised.value.remedy == f"give the base by hand: `model` BASE `adapter` {folder}"


def test_base_and_adapter_may_be_moved_together(place, tmp_path, monkeypatch):
    before = weights(load("tuned"))
    place.rename(tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    for folder in ("b/tuned", "b/tuned/snapshots/50"):
        loaded = load(folder)
        assert (tmp_path / "b" / "models" / "base").samefile(loaded.base)
    after = weights(load("b/tuned"))
    assert all(torch.equal(own, after[name]) for name, own in before.items())


def test_a_base_with_other_weights_is_another_base(place, monkeypatch):
    said = []
    monkeypatch.setattr(progress, "say", said.append)
    base = place / "models" / "base"
    # Its tokenizer and its config may be written anew.
    (base / "config.json").write_text((base / "config.json").read_text() + "\n")
    (base / "README.md").write_text("more")
    load("tuned")
    change(base / "model.safetensors")
    with pytest.raises(ModelError, match="not what the adapter was trained on") as raised:
        load("tuned")
    assert f"`model` {base} `adapter` tuned" in raised.value.remedy
    assert not said
    assert load(ModelConfig(model="models/base", adapter=place / "tuned")).adapter
    assert any("not those that the adapter" in line for line in said)


def test_another_base_beside_a_moved_adapter_is_not_taken(place, tmp_path):
    shutil.copytree(place, tmp_path / "b")
    change(tmp_path / "b" / "models" / "base" / "model.safetensors")
    # The one that it was trained on is still where it was.
    assert load(tmp_path / "b" / "tuned").base == str(place / "models" / "base")
    shutil.rmtree(place)
    with pytest.raises(ModelError, match="not what the adapter was trained on"):
        load(tmp_path / "b" / "tuned")


def test_a_record_counts_as_long_as_the_config_names_the_same_base(place, tmp_path):
    other = save_model(tmp_path / "other")
    change(other / "model.safetensors")
    config = place / "tuned" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(other)}))
    assert load("tuned").base == str(other)


def test_a_run_from_before_bases_were_recorded_still_says_that_its_base_was_a_folder(place):
    shutil.rmtree(place / "models")
    for folder in ("tuned", "tuned/snapshots/50"):
        (place / folder / "base.json").unlink()
        config = place / folder / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "models/base"}))
        with pytest.raises(ModelError, match="not looked for on the hub"):
            load(folder)
    # Of a base that came from the hub it says that.
    result = json.loads((place / "tuned" / "result.json").read_text())
    result["identity"]["inputs"]["model"] = {"hub": "models/base", "commit": None}
    (place / "tuned" / "result.json").write_text(json.dumps(result))
    with pytest.raises(ModelError, match="can't be loaded") as raised:
        load("tuned")
    assert "not looked for" not in str(raised.value)


def test_adapters_of_others_have_no_record(tmp_path):
    base = save_model(tmp_path / "base")
    save_with_peft(tmp_path / "adapter", base, peft.LoraConfig(**LORA))
    assert load(tmp_path / "adapter").base == str(base)
    for named in ("./away", "/away/base", "out/run/base2", "~/base", "away.gguf", r"c:\models\base"):
        save_with_peft(tmp_path / "adapter", base, peft.LoraConfig(**LORA), named=named)
        with pytest.raises(ModelError, match="not looked for on the hub"):
            load(tmp_path / "adapter")
