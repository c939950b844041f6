"""Where forgetting ends with nothing given: at the loss that the rows have with the adapter off."""

import math
from dataclasses import replace

import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from tests.unlearning.test_forget import losses, settings
from unweave.data.encoding import encode_rows
from unweave.data.training_rows import read_training_rows
from unweave.gradients.scoring import example_losses
from unweave.jobs.forget import forget_rows
from unweave.models.loading import ModelConfig, load
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import UnlearnOptions, config_of
from unweave.unlearning.context import Context
from unweave.unlearning.methods import get_method
from unweave.unlearning.planned import Steps
from unweave.unlearning.rows import ForgetRow
from unweave.unlearning.target import base_losses, loss_at_base


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A base that does better than guessing, and an adapter on it that has all rows by heart."""
    folder = tmp_path_factory.mktemp("learned")
    own = {"dtype": "float32", "batch_size": 4}
    fine_tune(
        TrainConfig(
            model=str(save_model(folder / "start")), data=write_rows(folder / "all.jsonl"), output_dir=folder / "base",
            tuning="full", epochs=8.0, learning_rate=3e-3, **own,
        )
    )  # fmt: skip
    fine_tune(
        TrainConfig(
            model=str(folder / "base"), data=folder / "all.jsonl", output_dir=folder / "adapter", epochs=40.0,
            learning_rate=2e-2, lora_r=4, lora_alpha=8, lora_dropout=0.0, **own,
        )
    )  # fmt: skip
    write_rows(folder / "forget.jsonl", ROWS[6:])
    write_rows(folder / "retain.jsonl", ROWS[:6])
    return folder


@pytest.fixture
def run(learned, tmp_path):
    def forget(kind, name="unlearned", **options):
        return forget_rows(settings(learned, tmp_path, config_of(kind), output_dir=tmp_path / name, **options))

    return forget


def loss_of(learned, model):
    path = learned / "forget.jsonl"
    return losses(learned / model if isinstance(model, str) else model, path, settings(learned, learned))


@pytest.mark.parametrize("mode", ["continue", "new"])
def test_rows_count_until_they_have_the_loss_without_the_adapter(learned, run, mode):
    base, before = loss_of(learned, "base"), loss_of(learned, "adapter")
    assert before < 0.5 * base < 0.5 * math.log(96)
    result = run("graddiff", epochs=None, adapter_mode=mode)
    free = run("graddiff", "free", epochs=None, adapter_mode=mode, stop_at_base=False, stop_loss=1e9)
    assert result.details["base_loss"] == pytest.approx(base, rel=1e-3)
    assert result.steps == result.planned_steps == 60
    # Momentum carries a row beyond its limit for some steps.
    assert 0.8 * base < loss_of(learned, result.folder) < 2 * base < loss_of(learned, free.folder)


@pytest.mark.parametrize("kind", ["ga", "graddiff", "npo", "rapidun", "undial"])
def test_a_row_beyond_its_limit_has_no_gradient(learned, kind):
    loaded = load(ModelConfig(model=str(learned / "adapter"), dtype="float32"))
    for name, own in loaded.model.named_parameters():
        own.requires_grad_("lora" in name)
    examples = encode_rows(
        read_training_rows(learned / "forget.jsonl", UnlearnOptions()).rows, loaded.tokenizer, UnlearnOptions()
    ).examples
    rows = [ForgetRow(example, None, 1.0, is_forget=True) for example in examples]
    reached = example_losses(loaded.model, examples, pad_token_id=0).means()
    parameters = [own for own in loaded.model.parameters() if own.requires_grad]

    def gradient(limits, kept):
        context = Context(loaded, rows, limits=limits)
        steps = Steps(
            get_method(kind)(**({"alpha": 0.0} if kind in {"graddiff", "npo", "undial"} else {})), context, steps=1
        )
        step = replace(steps.planned[0], rows=tuple(rows[index] for index in kept))
        loss = steps.method.loss(steps.view(loaded.model, steps.collate(step)))
        return [len(kept) * own for own in torch.autograd.grad(loss, parameters)]

    names = [example.row_id for example in examples]
    limits = {names[0]: reached[0] * 0.9, names[1]: reached[1] * 1.1}
    for own, other in zip(gradient(limits, [0, 1]), gradient(None, [1]), strict=True):
        torch.testing.assert_close(own, other)


def test_it_goes_on_where_that_is_not_asked_for(run):
    free = run("graddiff", stop_at_base=False, epochs=12.0, stop_loss=1e9)
    assert (free.steps, "base_loss" in free.details) == (free.planned_steps, False)


def test_a_target_that_is_given_counts(run):
    assert run("graddiff", target_loss=0.5).details["target"] == 0.5


def test_a_model_without_an_adapter_has_no_such_target(learned, run):
    assert "base_loss" not in run("graddiff", model=str(learned / "base"), epochs=2.0, adapter_mode="new").details


def test_a_base_that_does_worse_than_guessing_says_nothing(learned):
    loaded = load(ModelConfig(model=str(learned / "adapter"), dtype="float32"))
    config = settings(learned, learned)
    forget = encode_rows(read_training_rows(config.forget, config).rows, loaded.tokenizer, config).examples
    options = UnlearnOptions()
    found = base_losses(options, loaded, forget, forget[:2], before=0.1)
    assert found.mean == pytest.approx(loss_at_base(loaded, forget[:2]))
    assert found.by_row == {own.row_id: pytest.approx(loss_at_base(loaded, [own])) for own in forget}
    assert base_losses(options, loaded, forget, forget, before=loss_at_base(loaded, forget)) is None
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight.mul_(-20.0)
    assert loss_at_base(loaded, forget) > math.log(96)
    assert base_losses(options, loaded, forget, forget, before=0.1) is None


def test_a_run_that_diverges_at_its_first_measurement_goes_back_to_the_start(learned, run):
    result = run("graddiff", learning_rate=0.5, stop_loss=1e9, check_every=5, max_retain_increase=0.1)
    assert result.kept_step == 0
    assert loss_of(learned, result.folder) == pytest.approx(loss_of(learned, "adapter"), rel=1e-4)


def test_ssd_takes_more_parameters_until_the_target_is_reached(run):
    options = {
        "epochs": None,
        "batch_size": 8,
        "learning_rate": 5e-4,
        "lora_r": 8,
        "adapter_mode": "continue",
        "max_retain_increase": 9.0,
    }
    few = run("ssd", "few", selection=50.0, stop_at_base=False, **options)
    before, after = few.details["effect"]["forget_loss"]
    more = run("ssd", "more", selection=50.0, target_loss=before + 1.0, **options)
    assert more.details["selection"] < few.details["selection"] == 50.0
    assert more.details["selected"] > few.details["selected"]
    assert more.details["effect"]["forget_loss"][1] > after
