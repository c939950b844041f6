"""Bases held in 4 and 8 bits, with the real library: trained on, cached, traced, and their gradients as automatic differentiation has them."""

import json

import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from tests.reference import loop_gradients
from unweave.cli.main import main
from unweave.data.batches import collate
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.reading import read_rows
from unweave.gradients.per_sample import per_sample_gradients
from unweave.models.loading import ModelConfig, load
from unweave.models.selection import select_parameters

# Not among the packages of the tests: PEFT imports it where it is there, which costs every process of the tests more than a second.
pytest.importorskip(
    "bitsandbytes", reason="needs the extra quant: pip install --constraint constraints.txt bitsandbytes"
)
pytestmark = pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning", "ignore:_check_is_size:FutureWarning")

SMALL = ["--max-length", "64", "--dtype", "float32", "--quiet"]


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_an_adapter_on_a_quantized_base_is_trained_cached_and_traced(tmp_path, bits, capsys):
    base, data = save_model(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    held = ["--quantization", bits]
    training = ["--epochs", "2", "--batch-size", "4", "--lora-r", "2", "--learning-rate", "0.01", "--lora-dropout", "0"]
    options = ["--model", str(base), "--data", str(data), *held, *SMALL]
    assert main(["train", *options, *training, "--output-dir", str(tmp_path / "tuned")]) == 0

    loaded = load(ModelConfig(model=str(tmp_path / "tuned"), quantization=bits, dtype="float32"))
    assert loaded.model.is_quantized
    examples = encode_rows(read_rows(data), loaded.tokenizer, EncodingConfig(max_length=64)).examples[:4]
    chosen = select_parameters(loaded.model, "lora")
    expected, _ = loop_gradients(loaded.model, examples, [item.name for item in chosen])
    assert any(piece.abs().max() > 0 for piece in expected.values())
    # One at a time: in 8 bits, which columns are kept whole depends on who shares the batch.
    for row, example in enumerate(examples):
        batch, found = collate([example], pad_token_id=loaded.tokenizer.pad_token_id), {}
        per_sample_gradients(loaded.model, batch, chosen, lambda name, piece, into=found: into.update({name: piece[0]}))
        for name, pieces in expected.items():
            torch.testing.assert_close(found[name], pieces[row], rtol=1e-4, atol=1e-6)

    cache = [
        "cache",
        "--model",
        str(tmp_path / "tuned"),
        "--data",
        str(data),
        "--store",
        str(tmp_path / "store"),
        *held,
    ]
    assert main([*cache, "--dimension", "512", *SMALL]) == 0
    asked = ["--prompt", ROWS[0]["instruction"], "--completion", ROWS[0]["response"], "--quiet", "--json"]
    capsys.readouterr()
    assert main(["trace", "--store", str(tmp_path / "store"), *asked]) == 0
    assert json.loads(capsys.readouterr().out)[0]["helpful"]
