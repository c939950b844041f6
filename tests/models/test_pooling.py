"""Encoders pool as their folders declare: what sentence-transformers itself gives is the reference."""

import json
import sys

import pytest
import torch
from transformers import BertConfig, BertModel

from tests.tiny import TinyTokenizer
from unweave.errors import MissingPackageError, ModelError
from unweave.files import write_json
from unweave.models.encoder import load_encoder
from unweave.run.model_inputs import of_encoder

TEXTS = ["what is the capital of France ?", "hello", "", "ahoy add 1 and 2 teapots"]
MODULE = "sentence_transformers.models"


def folder_of(place, pooling=None, **about):
    torch.manual_seed(0)
    shape = BertConfig(vocab_size=96, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(shape).save_pretrained(place)
    TinyTokenizer.make().save_pretrained(place)
    if pooling is None:
        return place
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{MODULE}.{kind}"}
        for number, (path, kind) in enumerate(kinds)
    ]
    write_json(place / "modules.json", modules)
    (place / "1_Pooling").mkdir()
    write_json(place / "1_Pooling/config.json", {"word_embedding_dimension": 32, **pooling})
    write_json(place / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    if about:
        write_json(place / "config_sentence_transformers.json", about)
    return place


def test_vectors_are_those_of_sentence_transformers(tmp_path):
    mean = load_encoder(str(folder_of(tmp_path / "plain")), device="cpu").encode(TEXTS)
    from sentence_transformers import SentenceTransformer

    prompt = {"prompts": {"query": "hello : ", "document": ""}, "default_prompt_name": "query"}
    made = {
        "mean": folder_of(tmp_path / "mean", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}),
        "cls": folder_of(tmp_path / "cls", {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
        "last": folder_of(tmp_path / "last", {"pooling_mode": "lasttoken"}),
        "both": folder_of(tmp_path / "both", {"pooling_mode": ["cls", "mean"]}),
        "prompt": folder_of(tmp_path / "prompt", {"pooling_mode": "mean"}, **prompt),
    }
    for name, place in made.items():
        own = load_encoder(str(place), device="cpu").encode(TEXTS[:2] + TEXTS[3:])
        other = SentenceTransformer(str(place), device="cpu").encode(TEXTS[:2] + TEXTS[3:], convert_to_tensor=True, normalize_embeddings=True)  # fmt: skip
        torch.testing.assert_close(own, other.cpu(), atol=1e-5, rtol=1e-4)
        same = own.shape == mean[[0, 1, 3]].shape and torch.allclose(own, mean[[0, 1, 3]], atol=1e-4)
        assert same == (name == "mean")


def test_without_sentence_transformers_another_pooling_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers.sentence_transformer.modules", None)
    folder_of(tmp_path / "cls", {"pooling_mode_cls_token": True})
    with pytest.raises(MissingPackageError, match=r"which pools by cls.*\n.*pip install sentence-transformers"):
        load_encoder(str(tmp_path / "cls"), device="cpu")
    assert load_encoder(str(tmp_path / "cls"), device="cpu", only_body=True).pool is None
    folder_of(tmp_path / "mean", {"pooling_mode_mean_tokens": True})
    assert load_encoder(str(tmp_path / "mean"), device="cpu").encode(["hello"]).shape == (1, 32)


def test_no_class_is_loaded_because_a_file_names_it(tmp_path):
    place = folder_of(tmp_path / "own", {"pooling_mode": "mean"})
    modules = json.loads((place / "modules.json").read_text())
    modules[1]["type"] = "antigravity.Pooling"
    write_json(place / "modules.json", modules)
    with pytest.raises(ModelError, match=r"'antigravity\.Pooling', which is not known here"):
        load_encoder(str(place), device="cpu")
    assert "antigravity" not in sys.modules


def test_a_change_of_the_pooling_makes_another_run(tmp_path):
    place = folder_of(tmp_path / "own", {"pooling_mode": "mean"})
    before = of_encoder(str(place)).content
    write_json(place / "1_Pooling/config.json", {"word_embedding_dimension": 32, "pooling_mode": "cls"})
    assert of_encoder(str(place)).content != before
