"""Joined batches: a model gives for them what it gives for each alone, and where it would not, that is found out."""

import pytest
import torch
from transformers import AutoModelForCausalLM, GPTNeoConfig, MambaConfig, MistralConfig

from tests.tiny import CONFIGS, random_examples, tiny_model
from unweave.data.batches import collate, join
from unweave.gradients.loss import grouped_token_losses, token_losses
from unweave.models.blocks import can_join
from unweave.models.hidden import hidden_states

SMALL = {"vocab_size": 96, "hidden_size": 24, "num_hidden_layers": 2}


def groups_of(lengths):
    examples = random_examples([length for group in lengths for length in group])
    starts = [sum(map(len, lengths[:index])) for index in range(len(lengths))]
    return [
        collate(examples[start : start + len(group)], pad_token_id=0)
        for start, group in zip(starts, lengths, strict=True)
    ]


def test_joining_keeps_rows_and_their_numbers():
    groups = groups_of([[4, 6], [9], [3, 3, 5]])
    joined = join(groups)
    assert joined.blocks == ((2, 6), (1, 9), (3, 5))
    assert joined.input_ids.shape == (1, 36)
    assert joined.row_ids == tuple(f"row{index}" for index in range(6))
    assert torch.bincount(joined.segments[0] + 1).tolist() == [6, 4, 6, 9, 3, 3, 5]
    assert joined.position_ids[0, 12:21].tolist() == list(range(9))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_joined_batch_has_the_losses_states_and_gradients_of_its_parts(kind, attention):
    model = tiny_model(kind, attention=attention, lora=True)
    assert can_join(model, longest=16)
    assert not model.training
    groups = groups_of([[4, 6], [9], [3, 3, 5]])
    found = []
    for batches in (groups, [join(groups)]):
        losses = grouped_token_losses(model, batches)
        (losses.means() * torch.arange(1, 7)).sum().backward()
        gradients = [own.grad.clone() for own in model.parameters() if own.grad is not None]
        model.zero_grad()
        found.append((losses.sums().detach(), losses.counts(), gradients))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)
    assert model.config._attn_implementation == attention
    real = [group.segments.flatten() >= 0 for group in groups]
    with torch.no_grad():
        alone = [hidden_states(model, group)[1].flatten(0, 1) for group in groups]
        together = hidden_states(model, join(groups))[1][0]
    torch.testing.assert_close(together[torch.cat(real)], torch.cat(alone)[torch.cat(real)], rtol=1e-9, atol=1e-12)


def test_the_attention_comes_back_after_an_error():
    model = tiny_model("llama")
    bad = join(groups_of([[4], [3]]))
    bad.input_ids[0, 0] = 10_000
    with pytest.raises(IndexError):
        token_losses(model, bad)
    assert model.config._attn_implementation == "eager"


def test_models_that_cannot_are_found_out():
    assert not can_join(tiny_model("llama", checkpointing=True), longest=16)
    mamba = AutoModelForCausalLM.from_config(MambaConfig(**SMALL, state_size=4, pad_token_id=0))
    assert not can_join(mamba, longest=16), "its layers are recurrent"
    window = {"intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 8}
    mistral = AutoModelForCausalLM.from_config(MistralConfig(**SMALL, **window))
    assert can_join(mistral, longest=8)
    assert not can_join(mistral, longest=9), "its window is narrower"
    local = GPTNeoConfig(
        vocab_size=96,
        hidden_size=24,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
    )
    neo = AutoModelForCausalLM.from_config(local)
    assert can_join(neo, longest=8)
    assert not can_join(neo, longest=9), "the window of its local layers is narrower"
    assert mistral.training


def test_a_model_whose_rows_would_see_each_other_is_found_out(monkeypatch):
    model = tiny_model("llama")
    assert can_join(model, longest=16)
    monkeypatch.setattr("unweave.models.blocks.run_batch", lambda model, batch: model(**batch.model_inputs()))
    assert not can_join(model, longest=16)
