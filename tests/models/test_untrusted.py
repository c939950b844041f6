"""Models of strangers: nothing of theirs is run, nothing is asked, and what is loaded is all that their files hold, and no more."""

import io
import json
import re
import struct
import sys
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

import unweave
from tests.folders import save_model, write_rows
from tests.models.test_adapters import LORA, save_adapter
from unweave.cli.main import main
from unweave.errors import ModelError
from unweave.models.encoder import load_encoder
from unweave.models.loading import ModelConfig, load
from unweave.models.pretrained import not_finite
from unweave.models.tensor_files import read_header

SOURCES = Path(unweave.__file__).parent


@pytest.fixture
def base(tmp_path):
    return save_model(tmp_path / "base")


def refused(folder, *parts):
    with pytest.raises(ModelError) as raised:
        load(ModelConfig(model=str(folder)))
    assert raised.value.remedy
    for part in parts:
        assert part in str(raised.value)


def change(path, edit):
    """Write the tensors of a file anew, after an edit."""
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def write_header(path, header, room=0):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * room)


def test_the_program_of_a_model_is_never_run_whatever_stands_on_the_terminal(base, tmp_path, monkeypatch, capsys):
    ran = tmp_path / "ran"
    (base / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass C: pass\nM = C\n")
    config = json.loads((base / "config.json").read_text())
    names = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoModel": "evil.M"}
    words = json.loads((base / "tokenizer_config.json").read_text())
    rows = write_rows(tmp_path / "rows.jsonl")
    for kind in ("evil", config["model_type"]):
        (base / "config.json").write_text(json.dumps(config | {"auto_map": names, "model_type": kind}))
        (base / "tokenizer_config.json").write_text(
            json.dumps(words | {"auto_map": {"AutoTokenizer": ["evil.M", "evil.M"]}})
        )
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
        main(
            [
                "train",
                "--model",
                str(base),
                "--data",
                str(rows),
                "--output-dir",
                str(tmp_path / kind),
                "--epochs",
                "0.1",
            ]
        )
        assert sys.stdin.tell() == 0
        if kind == "evil":
            with pytest.raises(ModelError):
                load_encoder(str(base))
    assert not ran.exists()
    assert "program of its own" in capsys.readouterr().err


def test_every_door_to_transformers_says_that_no_program_is_run():
    door = re.compile(r"\.(from_pretrained|load_dataset|from_config)\(")
    found = []
    for path in SOURCES.rglob("*.py"):
        for match in door.finditer(text := path.read_text()):
            # A student's own loader, an adapter's description (which is JSON), and what stands in a model card, are no doors.
            line = text[text.rfind("\n", 0, match.start()) + 1 : text.find("\n", match.start())]
            if "Student" in line or "PeftConfig" in line or (path.name == "adapters.py" and "PeftModel" in line):
                continue
            found.append(
                (path.relative_to(SOURCES).as_posix(), "trust_remote_code=False" in text[match.start() :][:300])
            )
    assert sorted(found) == [("data/sources/hub.py", True), *[("models/pretrained.py", True)] * 2]


@pytest.mark.parametrize(
    ("what", "header", "room"),
    [
        ("overlaps", {"a": ["F32", [2], 0, 8], "b": ["F32", [2], 4, 12]}, 12),
        ("overlaps", {"a": ["F32", [2], 0, 8], "b": ["F32", [2], 12, 20]}, 20),
        ("beyond the file", {"a": ["F32", [2], 0, 8]}, 4),
        ("belong to no tensor", {"a": ["F32", [2], 0, 8]}, 12),
        ("its shape needs", {"a": ["F32", [2], 0, 4]}, 4),
        ("its shape needs", {"a": ["F32", [2**40, 2**40], 0, 4]}, 4),
        ("does not say what", {"a": ["F32", [-1], 0, 4]}, 4),
        ("does not say what", {"a": ["PICKLE", [1], 0, 4]}, 4),
        ("does not say what", {"a": ["F32", [1], 0, 4.0]}, 4),
    ],
)  # fmt: skip
def test_headers_are_checked(tmp_path, what, header, room):
    path = tmp_path / "t.safetensors"
    records = {name: {"dtype": own[0], "shape": own[1], "data_offsets": own[2:]} for name, own in header.items()}
    write_header(path, records, room)
    with pytest.raises(ModelError, match=what) as raised:
        read_header(path)
    assert raised.value.where == str(path)


def test_headers_that_are_none(tmp_path):
    path = tmp_path / "t.safetensors"
    for content, what in (
        (b"", "it is cut"),
        (struct.pack("<Q", 2**63) + b"{}", "does not fit"),
        (struct.pack("<Q", 0), "does not fit"),
        (struct.pack("<Q", 2) + b"[]", "no object"),
        (struct.pack("<Q", 3) + b"{a}", "no JSON"),
        (struct.pack("<Q", 9000) + b"[" * 9000, "no JSON"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=what):
            read_header(path)
    twice = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}'
    )
    write_header(path, twice, 4)
    with pytest.raises(ModelError, match="'a' stands twice"):
        read_header(path)
    for tensors in ({}, {"scalar": torch.tensor(1.0), "empty": torch.zeros(0, 3), "half": torch.zeros(3).bfloat16()}):
        save_file(tensors, path)
        assert read_header(path).keys() == tensors.keys()


def test_a_header_is_looked_at_wherever_weights_are_read(base, tmp_path):
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA))
    for folder, name in ((tmp_path / "adapter", "adapter_model.safetensors"), (base, "model.safetensors")):
        with (folder / name).open("ab") as file:
            file.write(b"more")
        refused(folder, "belong to no tensor", name)


def test_an_index_names_files_of_its_own_folder(base, tmp_path):
    whole = load_file(base / "model.safetensors")
    names = sorted(whole)
    halves = {"one.safetensors": names[:5], "two.safetensors": names[5:]}
    (base / "model.safetensors").unlink()
    index = base / "model.safetensors.index.json"

    def write(weight_map):
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

    for name, own in halves.items():
        save_file({key: whole[key] for key in own}, base / name, metadata={"format": "pt"})
    right = {key: name for name, own in halves.items() for key in own}
    write(right)
    loaded = load(ModelConfig(model=str(base), dtype="float32"))
    assert torch.equal(loaded.model.state_dict()[names[0]], whole[names[0]])
    (base / "one.safetensors").rename(tmp_path / "one.safetensors")
    refused(base, "'one.safetensors'", "missing")
    for outside in ("../one.safetensors", str(tmp_path / "one.safetensors"), "sub/../../one.safetensors", ".."):
        write({key: name.replace("one.safetensors", outside) for key, name in right.items()})
        refused(base, outside, "no safetensors file of its folder")
    write(dict.fromkeys(right, "pytorch_model-1.bin"))
    refused(base, "pytorch_model-1.bin")
    for broken in ("{", "[]", '{"weight_map": []}'):
        index.write_text(broken)
        refused(base, "index of the weights is broken")
    write(right)
    save_file(whole, base / "one.safetensors", metadata={"format": "pt"})
    refused(base, "stands in two files")


def test_pickles_are_refused_by_name(base):
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(b"never read")
    refused(base, "pytorch_model.bin", "any program")


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        (lambda t: t.pop("model.layers.1.mlp.up_proj.weight"), ("lack 1", "model.layers.1.mlp.up_proj.weight")),
        (lambda t: t.update({"model.layers.9.mlp.up_proj.weight": torch.ones(2)}), ("no place", "layers.9.mlp.up_proj")),
        (lambda t: t.update({"v_head.weight": torch.ones(2)}), ("no place", "v_head.weight")),
        (lambda t: t.update({"model.norm.weight": torch.ones(7)}), ("model.norm.weight", "(7,)", "(24,)")),
        (lambda t: t["model.norm.weight"].fill_(float("nan")), ("model.norm.weight", "finite")),
        (lambda t: t["model.layers.0.mlp.up_proj.weight"][3, 4].fill_(float("inf")), ("layers.0.mlp.up_proj", "finite")),
        (lambda t: t.update({"model.norm.weight": torch.ones(24, dtype=torch.int8)}), ("model.norm.weight", "I8")),
    ],
    ids=["missing", "another layer", "a head", "shape", "nan", "inf", "whole numbers"],
)  # fmt: skip
def test_tensors_that_are_not_the_models_are_named(base, edit, parts):
    change(base / "model.safetensors", edit)
    refused(base, *parts)


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        (lambda t, name: t.pop(name), ("no weights for", "q_proj")),
        (lambda t, name: t.update({name.replace("layers.0", "layers.7"): torch.ones(2)}), ("no place for", "layers.7")),
        (lambda t, _: t.update({"base_model.model.model.extra": torch.ones(2)}), ("no place for", "extra")),
        (lambda t, _: t.update({"stranger": torch.ones(2)}), ("no place for", "stranger")),
        (lambda t, _: t.update({"base_model.model.model.norm.weight": torch.ones(24)}), ("replace", "model.norm.weight")),
        (
            lambda t, name: t.update({name.replace("lora_A", "base_layer"): torch.ones(24, 24)}),
            ("replace", "layers.0.self_attn.q_proj"),
        ),
        (lambda t, name: t.update({name: torch.ones(1, 24)}), ("does not fit", "q_proj")),
        (lambda t, name: t[name].fill_(float("nan")), ("q_proj", "finite")),
    ],
    ids=["missing", "another layer", "no adapter's", "no prefix", "of the base", "under the adapter", "shape", "nan"],
)  # fmt: skip
def test_tensors_that_are_not_the_adapters_are_named(base, tmp_path, edit, parts):
    save_adapter(tmp_path / "adapter", base, peft.LoraConfig(**LORA))
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    name = next(name for name in load_file(path) if "layers.0" in name and "lora_A" in name)
    change(path, lambda tensors: edit(tensors, name))
    refused(tmp_path / "adapter", *parts)


def test_what_an_adapter_may_bring_of_the_base(base, tmp_path):
    for name, options in (
        ("biases", {"bias": "all", "target_modules": ["c_attn"], "fan_in_fan_out": True}),
        ("embedding", {"target_modules": ["q_proj", "embed_tokens"]}),
    ):
        folder = save_model(tmp_path / "gpt2", kind="gpt2") if name == "biases" else base
        expected, _ = save_adapter(tmp_path / name, folder, peft.LoraConfig(**LORA | options))
        model = load(ModelConfig(model=str(tmp_path / name), dtype="float32")).model
        with torch.no_grad():
            assert torch.equal(model(input_ids=torch.tensor([[5, 60, 9, 80, 7, 33]])).logits, expected)


def test_large_finite_weights_are_finite():
    assert not_finite({"a": torch.full((4, 4), 3e38), "b": torch.arange(3)}.items()) is None
    assert not_finite({"a": torch.full((300,), 60000.0).half(), "b": torch.tensor([0.0, -torch.inf])}.items()) == "b"
