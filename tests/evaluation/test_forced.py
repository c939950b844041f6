"""The teacher-forced pass against a loop over examples and tokens, and the count of its forward passes."""

import math

import pytest
import torch

from tests.tiny import TinyTokenizer, tiny_model
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.errors import ModelError
from unweave.evaluation.forced import LogitsFile, forced_pass
from unweave.models.loading import Loaded

WORDS = "hello world answer question yes no red blue green moon".split()


def rows(count, prefix="r"):
    return [
        Row(f"{prefix}{i}", f"what is {WORDS[i % 10]} ?", " ".join(WORDS[(i + j) % 10] for j in range(1 + i % 4)))
        for i in range(count)
    ]


@pytest.fixture
def loaded():
    return Loaded(tiny_model("llama"), TinyTokenizer.make(), "tiny", None)


def by_hand(model, example):
    """Loss, hit, mean and deviation of log p at each token of the answer, from whole logits."""
    with torch.no_grad():
        logp = torch.log_softmax(model(torch.tensor([example.input_ids])).logits[0].double(), dim=-1)
    found = []
    for position in example.label_positions:
        own = logp[position - 1]
        center = float((own.exp() * own).sum())
        spread = math.sqrt(float((own.exp() * (own - center) ** 2).sum()))
        token = example.input_ids[position]
        found.append((-float(own[token]), bool(own.argmax() == token), center, spread))
    return found


def test_token_values_equal_the_loop(loaded):
    sets = {"first": rows(7), "second": rows(5, "s")}
    found = forced_pass(loaded, sets, EncodingConfig(), token_budget=60)
    for name, own in sets.items():
        for index, example in enumerate(encode_rows(own, loaded.tokenizer, EncodingConfig()).examples):
            expected = by_hand(loaded.model, example)
            values = found[name]
            assert values.losses[index] == pytest.approx([value[0] for value in expected], abs=1e-9)
            assert values.hits[index] == [value[1] for value in expected]
            assert values.means[index] == pytest.approx([value[2] for value in expected], abs=1e-9)
            assert values.deviations[index] == pytest.approx([value[3] for value in expected], abs=1e-7)


def test_one_batched_pass_serves_all_sets(loaded):
    calls = []
    handle = loaded.model.register_forward_hook(lambda *_: calls.append(1))
    forced_pass(loaded, {"a": rows(6), "b": rows(6, "s"), "c": rows(6, "t")}, EncodingConfig(), token_budget=4096)
    handle.remove()
    assert len(calls) == 1


def test_divergence_from_a_recorded_reference(loaded, tmp_path):
    sets = {"compared": rows(6), "other": rows(3, "s")}
    file = LogitsFile(tmp_path / "logits.bin", {"model": "a"})
    options = {"compared": ("compared",), "logits_file": file}
    own = forced_pass(loaded, sets, EncodingConfig(), **options)["compared"]
    assert file.written
    assert max(max(row) for row in own.divergence) < 1e-9
    assert all(all(row) for row in own.agreement)
    torch.manual_seed(1)
    changed = tiny_model("llama")
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    found = forced_pass(Loaded(changed, loaded.tokenizer, "tiny", None), sets, EncodingConfig(), **options)
    assert found["other"].divergence == []
    for index, example in enumerate(encode_rows(sets["compared"], loaded.tokenizer, EncodingConfig()).examples):
        with torch.no_grad():
            p, q = (
                torch.log_softmax(m(torch.tensor([example.input_ids])).logits[0], dim=-1)
                for m in (loaded.model, changed)
            )
        places = [position - 1 for position in example.label_positions]
        expected = (p.exp() * (p - q)).sum(dim=-1)[places].tolist()
        assert found["compared"].divergence[index] == pytest.approx(expected, abs=1e-9)
        assert found["compared"].agreement[index] == (p.argmax(-1) == q.argmax(-1))[places].tolist()
    assert found["compared"].summary()["kl_from_retrained"] > 0


def test_a_reference_of_other_rows_is_refused_and_of_another_identity_made_anew(loaded, tmp_path):
    path = tmp_path / "logits.bin"
    forced_pass(loaded, {"a": rows(4)}, EncodingConfig(), compared=("a",), logits_file=LogitsFile(path, {"model": "a"}))
    with pytest.raises(ModelError, match="token by token"):
        same = LogitsFile(path, {"model": "a"})
        forced_pass(loaded, {"a": rows(5)}, EncodingConfig(), compared=("a",), logits_file=same)
    assert not LogitsFile(path, {"model": "b"}).written


def test_weights_of_nan_are_said(loaded):
    with torch.no_grad():
        next(loaded.model.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        forced_pass(loaded, {"a": rows(2)}, EncodingConfig())


def test_summaries_by_hand(loaded):
    found = forced_pass(loaded, {"a": rows(4)}, EncodingConfig())["a"]
    tokens = [loss for row in found.losses for loss in row]
    assert found.summary()["perplexity"] == pytest.approx(math.exp(sum(tokens) / len(tokens)))
    assert found.probabilities()[0] == pytest.approx(math.exp(-found.mean_losses()[0]))
    assert sum(found.tokens()) == len(tokens)
