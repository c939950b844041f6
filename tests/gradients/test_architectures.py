"""Per-sample gradients of many architectures and adapters: equal to the loop of torch.autograd.grad in float64, or refused by name, and never wrong."""

import pytest
import torch

from tests.architectures import ARCHITECTURES, build
from tests.tiny import random_examples
from tests.verdicts import ADAPTERS, _adapter, adapted, compare, verdict
from unweave.data.batches import collate, pack
from unweave.data.encoding import Example
from unweave.gradients.per_sample import frozen_in_evaluation, per_sample_gradients, rows_a_batch
from unweave.gradients.routes import Route, find_routes
from unweave.models.selection import select_parameters


@pytest.mark.parametrize("kind", ["all", "linear", "lora"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name, kind):
    found = verdict(name, kind)
    # PEFT does not adapt the projections of state space models.
    expected = "not offered" if kind == "lora" and name in ("mamba", "mamba2") else "equal"
    assert found.outcome == expected, found


@pytest.mark.parametrize("kind", ADAPTERS)
def test_every_adapter(kind):
    found = verdict("llama", kind)
    assert found.outcome == ("refused" if kind in ("prompt", "prefix") else "equal"), found
    if found.outcome == "refused":
        assert kind.upper() in found.detail


def test_of_several_adapters_the_active_one():
    model = adapted(build("llama", dtype=torch.float64), "lora, attention")
    model.add_adapter("second", _adapter("lora, rank-stabilised"))
    model.set_adapter("second")
    model.double()
    generator = torch.Generator().manual_seed(4)
    for name, parameter in model.named_parameters():
        if ".second." in name:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    assert all(".second." in item.name for item in select_parameters(model, "adapter"))
    assert compare(model, "adapter").outcome == "equal"


def test_one_row_alone_and_a_packed_batch_give_the_same():
    """Experts take the way of autograd; a batch of one has it in the same pass, and packed rows are taken out of their sequence."""
    model = build("mixtral", dtype=torch.float64)
    model.set_experts_implementation("eager")
    selected = select_parameters(model, "all")
    examples = random_examples([6, 4])

    def gradients(batch):
        found = {}
        per_sample_gradients(model, batch, selected, lambda name, piece: found.__setitem__(name, piece.clone()))
        return found

    together, packed = gradients(collate(examples, pad_token_id=0)), gradients(pack(examples))
    for index, example in enumerate(examples):
        for name, alone in gradients(collate([example], pad_token_id=0)).items():
            assert alone.abs().max() > 0, name
            torch.testing.assert_close(together[name][index], alone[0], rtol=1e-9, atol=1e-12)
            if "experts" in name:
                torch.testing.assert_close(packed[name][index], alone[0], rtol=1e-9, atol=1e-12)
    assert not any(parameter.requires_grad and parameter.grad is not None for parameter in model.parameters())


def test_the_ways_are_chosen_and_said(capsys):
    model = build("mixtral", dtype=torch.float64)
    model.set_experts_implementation("eager")
    selected = select_parameters(model, "all")
    examples = random_examples([6, 4])
    for _ in range(2):
        per_sample_gradients(model, collate(examples, pad_token_id=0), selected, lambda *_: None)
    with frozen_in_evaluation(model):
        routes = find_routes(model, collate(examples, pad_token_id=0), selected)
    alone = {name for name, route in routes.items() if route is Route.ALONE}
    assert alone == {item.name for item in selected if "experts" in item.name or "gate.weight" in item.name}
    said = capsys.readouterr().err
    assert said.count("one row at a time") == 1
    assert "layers.0.mlp.gate.weight" in said
    # Rows that have to go one by one anyway get batches of their own.
    assert rows_a_batch(model, selected, examples, pad_token_id=0) == 1
    assert rows_a_batch(model, select_parameters(model, "linear"), examples, pad_token_id=0) is None


def test_what_only_a_group_holds_may_have_no_part_in_the_loss(capsys):
    model = build("gemma3, with vision", dtype=torch.float64)
    found = compare(model, "linear", tolerance=1e-5)
    assert found.outcome == "equal", found
    assert "take no part in the loss" in capsys.readouterr().err
    assert compare(model, "vision_tower.*q_proj|language_model.*q_proj").outcome == "refused"


def test_an_idle_parameter_that_wakes_up_is_noticed():
    """An adapter that is switched off while the ways are chosen, and on when a batch comes."""
    model = adapted(build("llama", dtype=torch.float64), "lora, attention")
    selected = select_parameters(model, "all")
    batch = collate(random_examples([6, 4]), pad_token_id=0)
    with model.disable_adapter():
        per_sample_gradients(model, batch, selected, lambda *_: None)
        with frozen_in_evaluation(model):
            routes = find_routes(model, batch, selected)
    assert {name for name, route in routes.items() if route is Route.IDLE} == {
        name for name in routes if "lora_" in name
    }
    assert compare(model, "all").outcome == "equal"


class ScaledTable(torch.nn.Embedding):
    """Twice its rows, shifted by one, and divided by how often a token occurs, so that a batch is no sum of its rows."""

    def forward(self, ids):
        return 2.0 * super().forward((ids + 1) % self.num_embeddings)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 5}, {"scale_grad_by_freq": True}])
def test_a_table_that_shifts_scales_and_counts(options):
    model = build("llama", dtype=torch.float64)
    table = ScaledTable(*model.model.embed_tokens.weight.shape, dtype=torch.float64, **options)
    table.weight.data.copy_(model.model.embed_tokens.weight)
    model.model.embed_tokens = table
    examples = [Example("a", (4, 4, 9, 4, 7), 1), Example("b", (9, 4, 4), 1)]
    found = compare(model, "embed_tokens", examples=examples)
    assert found.outcome == "equal", found


def test_a_layer_that_scales_what_it_says_it_computes():
    """A linear layer in name: the trial finds that its output is not the product."""
    model = build("llama", dtype=torch.float64)

    class Scaled(torch.nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) * 3.0

    projection = model.model.layers[0].mlp.up_proj
    projection.__class__ = Scaled
    found = compare(model, "linear")
    assert found.outcome == "equal", found


@pytest.mark.parametrize(
    "kind", ["lora, dora", "lora, embeddings", "lora, saved modules", "lora, tokens", "lora, biases"]
)
def test_lora_is_all_that_the_adapter_trains(kind):
    model = adapted(build("llama", dtype=torch.float64), kind)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    assert [item.name for item in select_parameters(model, "lora")] == trained
    assert [item.name for item in select_parameters(model, "adapter")] == trained
    assert not any(parameter.requires_grad for parameter in model.parameters())
    linear = {item.name for item in select_parameters(model, "linear")}
    assert linear
    assert not linear & {name for name in trained if "bias" not in name}
