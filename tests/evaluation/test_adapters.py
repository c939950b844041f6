"""Audits, attacks and requests on adapters that are not LoRA, and on weights that are not nn.Linear."""

import peft
import pytest
import torch

from tests.folders import save_model, write_rows
from tests.models.test_adapters import KINDS, LORA, logits, save_adapter
from tests.tiny import tiny_model
from unweave.data.encoding import EncodingConfig
from unweave.errors import ModelError
from unweave.evaluation.attacks.base import Target
from unweave.evaluation.attacks.material import material_of_case
from unweave.evaluation.attacks.quantise import quantise, rounded_weights
from unweave.evaluation.attacks.relearn import relearn
from unweave.evaluation.config import AttackConfig
from unweave.ledger import attempts
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, RunConfig
from unweave.ledger.run import run_request
from unweave.models.loading import ModelConfig, load

RECORDS = [
    {"id": f"r{i}", "instruction": f"add {i % 10} and {i // 10}", "response": f"{(i * 3) % 10} yes"} for i in range(40)
]


def target_of(folder, case):
    loaded = load(ModelConfig(model=str(folder), dtype="float32"))
    config = AttackConfig(attack_rows=4, samples=2, relearn_rows=4, relearn_steps=2, relearn_rate=5e-2)
    return Target(loaded, material_of_case(case), EncodingConfig(max_length=96), config, 4, 0, "tiny")


@pytest.mark.parametrize("kind", ["ia3", "oft", "tokens"])
def test_relearning_trains_an_adapter_of_any_kind(tmp_path, case, kind):
    base = save_model(tmp_path / "base")
    before, _ = save_adapter(tmp_path / "adapter", base, KINDS[kind])
    target = target_of(tmp_path / "adapter", case)
    found = relearn(target)
    curve = [point["loss_unwanted"]["value"] for point in found["forget"]["curve"]]
    assert curve[-1] != curve[0]
    assert torch.equal(logits(target.loaded.model), before)


def test_quantising_begins_with_the_same_model_where_ends_are_tied(tmp_path, case):
    base = save_model(tmp_path / "base")
    config = peft.LoraConfig(**LORA | {"target_modules": ["q_proj", "lm_head"]})
    save_adapter(tmp_path / "adapter", base, config)
    target = target_of(tmp_path / "adapter", case)
    whole = target.losses(description="x")["loss_clean"]["value"]
    eight = quantise(target)["int8"]["loss_clean"]["value"]
    assert eight == pytest.approx(whole, rel=0.05)


def test_what_is_rounded():
    assert len(rounded_weights(tiny_model("llama"))) == 14
    assert len(rounded_weights(tiny_model("gpt2"))) == 8
    conv = tiny_model("gpt2")
    with torch.no_grad():
        for weight in rounded_weights(conv):
            weight.zero_()
    assert not conv.transformer.h[0].mlp.c_fc.weight.any()


def test_a_quantised_model_has_nothing_to_round(tmp_path, case):
    target = target_of(save_model(tmp_path / "base"), case)
    target.loaded.model.is_quantized = True
    with pytest.raises(ModelError, match="quantised already") as raised:
        quantise(target)
    assert "`attacks`" in raised.value.remedy


@pytest.mark.parametrize("kind", ["ia3", "vera"])
def test_a_request_on_an_adapter_that_is_not_lora(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(attempts, "STEPS", 4)
    base = save_model(tmp_path / "base")
    before, _ = save_adapter(tmp_path / "adapter", base, KINDS[kind])
    ledger, data = tmp_path / "ledger", write_rows(tmp_path / "train.jsonl", RECORDS)
    add_request(
        AddConfig(
            ledger=ledger,
            row_ids=("r3",),
            data=data,
            model=str(tmp_path / "adapter"),
            request_id="one",
            max_perplexity_change=1e9,
        )
    )
    run_request(RunConfig(request="one", ledger=ledger, dtype="float32", retain_rows=8, test_rows=8, margin=1e9))
    after = load(ModelConfig(model=str(ledger / "requests" / "one" / "adapter"), dtype="float32"))
    assert after.model.peft_config["default"].peft_type.value == kind.upper()
    assert not torch.equal(logits(after.model), before)
