"""Per-sample gradients against the loop of torch.autograd.grad, in float64."""

import pytest
import torch

from tests.reference import loop_gradients
from tests.tiny import random_examples, tiny_model
from unweave.data.batches import collate, pack
from unweave.errors import ModelError
from unweave.gradients.per_sample import per_sample_gradients
from unweave.models.selection import select_parameters

LENGTHS = [9, 5, 12, 7, 3]


def collect(model, batch, selected, **options):
    found = {}

    def consume(name, piece):
        assert name not in found
        found[name] = piece.clone()

    losses = per_sample_gradients(model, batch, selected, consume, **options)
    return found, losses


def assert_equal_to_loop(model, examples, batch, which, *, reduction="mean", tolerance=1e-10):
    selected = select_parameters(model, which)
    found, losses = collect(model, batch, selected, reduction=reduction)
    truth, loop_losses = loop_gradients(model, examples, [item.name for item in selected], reduction=reduction)
    assert set(found) == set(truth)
    for name, gradients in truth.items():
        assert gradients.abs().max() > 0, f"the reference gradient of {name} is zero: the test would prove nothing"
        difference = (found[name] - gradients).abs().max() / gradients.abs().max()
        assert difference < tolerance, f"{name}: relative difference {difference:.1e}"
    own = losses.means() if reduction == "mean" else losses.sums()
    torch.testing.assert_close(own, torch.tensor(loop_losses, dtype=own.dtype))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt_neox", "gpt2"])
@pytest.mark.parametrize("which", ["linear", "all"])
def test_padded_batch_equals_loop(kind, which):
    model = tiny_model(kind)
    examples = random_examples(LENGTHS)
    assert_equal_to_loop(model, examples, collate(examples, pad_token_id=0), which)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt_neox"])
def test_lora_equals_loop_with_dropout_off(kind):
    model = tiny_model(kind, lora=True)
    examples = random_examples(LENGTHS)
    model.train()
    assert_equal_to_loop(model, examples, collate(examples, pad_token_id=0), "lora")
    assert model.training


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_batch_equals_loop(kind, attention):
    model = tiny_model(kind, lora=True, attention=attention)
    examples = random_examples(LENGTHS)
    # transformers' eager attention takes its softmax in float32, whatever the model's dtype.
    assert_equal_to_loop(model, examples, pack(examples), "lora", tolerance=1e-5 if attention == "eager" else 1e-10)


def test_packed_all_parameters_equal_loop():
    model = tiny_model("llama", attention="sdpa")
    examples = random_examples(LENGTHS)
    assert_equal_to_loop(model, examples, pack(examples), "all")


def test_tied_head_and_embedding_add_up():
    model = tiny_model("llama")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    examples = random_examples(LENGTHS)
    selected = select_parameters(model, "embed_tokens")
    assert len(selected) == 1
    assert len(selected[0].uses) == 2
    assert_equal_to_loop(model, examples, collate(examples, pad_token_id=0), "embed_tokens")


def test_gradient_checkpointing_changes_nothing():
    examples = random_examples(LENGTHS)
    batch = collate(examples, pad_token_id=0)
    assert_equal_to_loop(tiny_model("llama", lora=True, checkpointing=True), examples, batch, "lora")


def test_ia3_vectors_equal_loop():
    from peft import IA3Config, get_peft_model

    config = IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False
    )
    model = get_peft_model(tiny_model("llama"), config, autocast_adapter_dtype=False)
    for name, parameter in model.named_parameters():
        if "ia3_l" in name:
            parameter.data.uniform_(0.5, 1.5)
    examples = random_examples(LENGTHS)
    assert_equal_to_loop(model, examples, collate(examples, pad_token_id=0), ["ia3_l"])


def test_sum_reduction():
    model = tiny_model("llama", lora=True)
    examples = random_examples(LENGTHS)
    assert_equal_to_loop(model, examples, collate(examples, pad_token_id=0), "lora", reduction="sum")


def test_batch_and_pad_token_do_not_matter():
    model = tiny_model("llama", lora=True)
    examples = random_examples(LENGTHS)
    selected = select_parameters(model, "lora")
    whole, _ = collect(model, collate(examples, pad_token_id=2), selected)
    for index, example in enumerate(examples):
        alone, _ = collect(model, collate([example], pad_token_id=0), selected)
        for name, gradients in alone.items():
            torch.testing.assert_close(whole[name][index], gradients[0], rtol=1e-9, atol=1e-12)


def test_the_model_is_left_as_it_was():
    model = tiny_model("llama", lora=True)
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    examples = random_examples(LENGTHS)
    collect(model, collate(examples, pad_token_id=0), select_parameters(model, "lora"))
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_parameter_outside_the_loss_is_named():
    model = tiny_model("llama")
    model.idle = torch.nn.Linear(4, 4, dtype=torch.float64)
    examples = random_examples([5])
    with pytest.raises(ModelError, match=r"idle\.weight"):
        collect(model, collate(examples, pad_token_id=0), select_parameters(model, ["idle.weight", "q_proj"]))


def test_bfloat16_is_close_to_float64():
    examples = random_examples(LENGTHS)
    batch = collate(examples, pad_token_id=0)
    exact, _ = collect(model := tiny_model("llama", lora=True), batch, select_parameters(model, "lora"))
    rough, _ = collect(low := tiny_model("llama", lora=True).to(torch.bfloat16), batch, select_parameters(low, "lora"))
    for name, gradients in exact.items():
        a, b = gradients.flatten(1), rough[name].flatten(1).double()
        assert (torch.nn.functional.cosine_similarity(a, b, dim=1) > 0.99).all(), name
