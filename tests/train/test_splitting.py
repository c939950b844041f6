"""Steps in parts: their gradients and losses are those of the whole step, and memory that runs out makes parts of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import unweave as uw
from tests.folders import ROWS
from tests.notebook import numbered
from tests.tiny import TinyTokenizer, random_examples, tiny_model
from unweave.data.batches import collate
from unweave.errors import TrainingError
from unweave.models.loading import Loaded
from unweave.train.loop import LoopConfig
from unweave.train.planned import PlannedTrainer
from unweave.train.processes import Processes
from unweave.train.tuning import TuningPlan, mean_token_loss, tune


def undisturbed():
    """A model without dropout, which would drop other states in parts."""
    torch.manual_seed(0)
    model = tiny_model("llama", lora=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


EXAMPLES = random_examples([5, 9, 4, 12, 7, 6, 3])


@pytest.fixture
def gradients(monkeypatch):
    """What each step has summed, parameter by parameter."""
    seen = []

    def keep(_, parameters):
        seen.append([None if own.grad is None else own.grad.clone() for own in parameters])

    monkeypatch.setattr(Processes, "average_gradients", keep)
    return seen


def trained(steps):
    model = undisturbed()
    for name, own in model.named_parameters():
        own.requires_grad_("lora_" in name)
    plan = TuningPlan(steps, collate, mean_token_loss, LoopConfig(learning_rate=1e-3))
    return tune(model, EXAMPLES, plan, pad_token_id=0).losses


def test_a_step_in_parts_is_the_whole_step(gradients, monkeypatch):
    steps = [[0, 1, 2, 3, 4], [5, 6], [2], [1, 3, 5, 6]]
    losses = trained(steps)
    whole = list(gradients)
    monkeypatch.setattr(PlannedTrainer, "parts", 3)
    gradients.clear()
    assert trained(steps) == pytest.approx(losses, rel=1e-12)
    torch.testing.assert_close(gradients, whole, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("method", [uw.methods.NPO(), uw.methods.RapidUn(), uw.methods.Distill()])
def test_an_unlearning_step_in_parts_is_the_whole_step(method, gradients, monkeypatch):
    rows = numbered(ROWS)
    found = []
    for parts in (1, 3):
        gradients.clear()
        monkeypatch.setattr(PlannedTrainer, "parts", parts)
        loaded = Loaded(undisturbed(), TinyTokenizer.make(), "base", "adapter")
        made = uw.unlearn(
            loaded, rows[:3], rows[3:], method=method, epochs=1, batch_size=4, adapter_mode="continue", seed=0
        )
        found.append(([(one.loss, one.forget_loss) for one in made.history], list(gradients)))
    (losses, whole), (own_losses, own) = found
    for one, other in zip(losses, own_losses, strict=True):
        assert other == pytest.approx(one, rel=1e-6, nan_ok=True)
    torch.testing.assert_close(own, whole, rtol=1e-5, atol=1e-9)


def test_memory_that_runs_out_makes_parts_of_a_step(gradients, monkeypatch, capsys):
    steps = [[0, 1, 2, 3, 4], [5, 6, 0, 1]]
    losses = trained(steps)
    whole = list(gradients)
    gradients.clear()
    real = PlannedTrainer.compute_loss

    def short(self, model, inputs, *rest, **options):
        loss = real(self, model, inputs, *rest, **options)
        if len(inputs["batch"].input_ids) > 2:
            # In the backward pass: some gradients are there already.
            self.trained[0].grad = torch.ones_like(self.trained[0])
            raise MemoryError
        return loss

    monkeypatch.setattr(PlannedTrainer, "compute_loss", short)
    assert trained(steps) == pytest.approx(losses, rel=1e-12)
    torch.testing.assert_close(gradients, whole, rtol=1e-10, atol=1e-14)
    said = capsys.readouterr().err
    assert [f"in {parts} parts from here on" in said for parts in (2, 4, 8)] == [True, True, False]


def test_a_single_row_that_does_not_fit_is_an_error(monkeypatch):
    def short(*_, **__):
        raise MemoryError

    monkeypatch.setattr(PlannedTrainer, "compute_loss", short)
    with pytest.raises(TrainingError, match="on a single row"):
        trained([[0, 1]])


SHORT_OF_MEMORY = """
import ctypes
import resource
import psutil
import torch
from tests.tiny import random_examples, tiny_model
from unweave.data.batches import collate
from unweave.train.loop import LoopConfig
from unweave.train.tuning import TuningPlan, mean_token_loss, tune

examples = random_examples([200] * 96)
plan = TuningPlan([list(range(96))] * 2, collate, mean_token_loss, LoopConfig())

def losses():
    model = tiny_model("llama", dtype=torch.float32, lora=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name, own in model.named_parameters():
        own.requires_grad_("lora_" in name)
    return tune(model, examples, plan, pad_token_id=0).losses

free = losses()
ctypes.CDLL(None).malloc_trim(0)
limit = psutil.Process().memory_info().vms + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(torch.allclose(torch.tensor(losses()), torch.tensor(free), rtol=1e-4))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_training_goes_on_where_the_cpus_memory_runs_out():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHORT_OF_MEMORY],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "True"
    assert "parts from here on" in done.stderr
