"""Memory before a run: what is counted of a pass without values is what tensors of these sizes take."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.folders import ROWS, save_model, write_rows
from unweave.cli.main import main
from unweave.jobs.memory import Memory, Outline, Shape, _Alive, largest, of_training, traced_modules
from unweave.models.loading import ModelConfig
from unweave.train.config import LoraOptions


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("memory") / "base")


def test_what_is_alive_at_a_time_is_counted():
    with _Alive() as counter:
        first = torch.zeros(1000, device="meta")
        view = first[:10]
        second = first + 1
        del first
        third = second.double()
        del second, view
        assert counter.now == 8000
    assert counter.peak == 4000 + 4000 + 8000, "a view keeps its storage"
    del third
    assert counter.now == 0


def test_a_backward_pass_holds_what_it_saves():
    weight = torch.zeros(64, 64, device="meta", requires_grad=True)
    with _Alive() as counter:
        inputs = torch.zeros(100, 64, device="meta")
        hidden = torch.tanh(inputs @ weight)
        del inputs
        loss = hidden.sum()
        del hidden
        assert counter.now == 4 * (2 * 100 * 64 + 1), "the inputs for the weight, the outputs for tanh"
        loss.backward()
        del loss
    assert counter.now == 4 * 64 * 64, "the gradient"


def outline(base, **options):
    return Outline(ModelConfig(model=str(base), dtype="float32", **options), LoraOptions(lora_dropout=0.0))


def test_terms_of_training(base):
    shape = Shape(8, 64, 256)
    plain, again = (of_training(outline(base, gradient_checkpointing=on), shape) for on in (False, True))
    numbers = plain.terms["adapter"] // 4
    assert plain.terms["optimizer"] == 12 * numbers
    held = load_file(base / "model.safetensors")
    assert plain.terms["weights"] == again.terms["weights"] == 4 * sum(own.numel() for own in held.values())
    assert again.passes["step"] < 0.8 * plain.passes["step"]
    assert plain.peak == sum(plain.terms.values()) + plain.passes["step"]
    twice = outline(base)
    twice.trainable()
    assert twice.training_pass(Shape(16, 64, 512)) == pytest.approx(2 * plain.passes["step"], rel=0.1)
    assert twice.reading_pass(shape) < plain.passes["step"]


def test_half_the_bytes_a_number(base):
    wide, half = (Outline(ModelConfig(model=str(base), dtype=dtype)) for dtype in ("float32", "bfloat16"))
    assert wide.weights()["weights"] == 2 * half.weights()["weights"]
    few = Outline(ModelConfig(model=str(base), dtype="bfloat16", quantization="4bit"))
    assert few.weights()["weights"] == int(0.53 * half.base)


def test_the_largest_batch_and_the_largest_pass_count():
    assert largest([[(5, 2), (9, 4)], [(8, 1)], [(3, 3)] * 7]) == Shape(7, 3, 21)
    assert Memory({"weights": 10, "adapter": 1}, {"one": 5, "other": 7}).peak == 18


def test_modules_of_an_adapter_and_of_the_base_are_kept_apart(base):
    model = outline(base).model
    names = {which: set(traced_modules(model, which)) for which in ("lora", "linear")}
    assert all("lora_" in name for name in names["lora"])
    assert not any("lora_" in name or "lm_head" in name for name in names["linear"])
    assert len(names["lora"]) == 2 * len(names["linear"])


def test_plans_say_it(base, tmp_path, capsys):
    data = write_rows(tmp_path / "rows.jsonl", ROWS)
    few = ["--batch-size", "4", "--lora-r", "2", "--dtype", "float32", "--json"]
    assert (
        main(["plan", "train", "--model", str(base), "--data", str(data), "--output-dir", str(tmp_path / "out"), *few])
        == 0
    )
    memory = json.loads(capsys.readouterr().out)["memory"]
    assert set(memory) == {"weights", "adapter", "optimizer", "step", "peak"}
    assert memory["peak"] == sum(memory.values()) - memory["peak"]
