"""The one batch loop: every example once, halves when memory runs out, norms as of whole gradients."""

import pytest
import torch

from tests.reference import loop_gradients
from tests.tiny import random_examples, tiny_model
from unweave.errors import ModelError
from unweave.gradients.scoring import example_losses
from unweave.gradients.source import GradientSource
from unweave.models.selection import select_parameters
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher

EXAMPLES = random_examples([9, 5, 12, 7, 7, 3])


@pytest.fixture
def small(monkeypatch):
    """A device on which no batch of more than two rows has room; what was run on it."""
    sizes = []

    def limit(model, most=2):
        def forward(*inputs, _own=model.forward, **options):
            rows = options["input_ids"].shape[0]
            sizes.append(rows)
            if rows > most:
                raise torch.OutOfMemoryError("no room")
            return _own(*inputs, **options)

        monkeypatch.setattr(model, "forward", forward)
        return sizes

    return limit


def test_each_example_is_worked_on_once_within_the_budget():
    source = GradientSource(tiny_model("llama"), 0, token_budget=24)
    done = []
    for places, width in source.each(EXAMPLES, lambda _, batch: batch.input_ids.shape[1], advance=done.append):
        assert width == max(len(EXAMPLES[place]) for place in places)
        assert len(places) * width <= 24
    assert sum(done) == len(EXAMPLES)
    assert [place for batch in source.plan(EXAMPLES) for place in batch] == [2, 0, 3, 4, 1, 5]


def test_batches_are_halved_when_memory_runs_out(small):
    model = tiny_model("llama", lora=True)
    sketcher = Sketcher(model, pad_token_id=0, config=GradientConfig(dimension=64))
    sketches, losses = sketcher.sketch_all(EXAMPLES), example_losses(model, EXAMPLES, pad_token_id=0).sums
    sizes, done = small(model), []
    halved = sketcher.sketch_all(EXAMPLES, advance=done.append)
    torch.testing.assert_close(halved.sketches, sketches.sketches, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(halved.losses, sketches.losses)
    assert example_losses(model, EXAMPLES, pad_token_id=0).sums == pytest.approx(losses)
    assert sum(done) == len(EXAMPLES)
    assert max(sizes) > 2
    assert max(done) <= 2


def test_a_single_row_without_room_is_named(small):
    model = tiny_model("llama", lora=True)
    small(model, most=0)
    with pytest.raises(ModelError, match="single row row2 of 12 tokens"):
        example_losses(model, EXAMPLES, pad_token_id=0)


def test_norms_are_those_of_whole_gradients():
    model = tiny_model("gpt2")
    parameters = select_parameters(model, "linear")
    norms = GradientSource(model, 0, parameters).norms(EXAMPLES)
    gradients, _ = loop_gradients(model, EXAMPLES, [item.name for item in parameters])
    whole = torch.cat([piece.flatten(1) for piece in gradients.values()], dim=1)
    torch.testing.assert_close(norms, whole.norm(dim=1), rtol=1e-6, atol=0)
