"""A method inside a Hugging Face Trainer: the same training however a step is cut."""

import json
import warnings

import pytest
import torch
from transformers import TrainingArguments

import unweave as uw
from tests.folders import ROWS
from tests.notebook import in_memory, numbered, write_files
from unweave.data.reading import load_rows
from unweave.errors import ConfigError

TRAINED = ("npo", "graddiff", "ga", "wga", "undial", "rmu", "idk", "rapidun", "distill")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("trainer"))


def arguments(folder, **options):
    given = {
        "per_device_train_batch_size": 4, "num_train_epochs": 2, "learning_rate": 1e-3, "report_to": "none", "use_cpu": True,
        "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "steps", "logging_steps": 1, "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0, "optim": "sgd",
    }  # fmt: skip
    with warnings.catch_warnings():
        # The option has another name in newer transformers.
        warnings.simplefilter("ignore", FutureWarning)
        return TrainingArguments(str(folder), **{**given, **options})


def rows():
    return load_rows(numbered(ROWS))


def make(folder, out, method, **options):
    own, all_rows = in_memory(folder), rows()
    without_randomness(own["hf_model"])
    return uw.UnlearnTrainer(
        model=own["hf_model"], processing_class=own["tokenizer"], forget_dataset=all_rows[5:], retain_dataset=all_rows[:5],
        method=uw.methods.available()[method]() if isinstance(method, str) else method, weights=([1.5, 0.5, 1.0], [1.0, 2.0, 0.5, 1.0, 0.25]),
        retain_ratio=1.0, args=arguments(out, **options),
    )  # fmt: skip


def without_randomness(model):
    """Parts of a step that are read apart have other dropout."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def state(trainer):
    return torch.cat([own.detach().flatten() for own in trainer.model.parameters() if own.requires_grad])


def trained(*given, **options):
    trainer = make(*given, **options)
    start = state(trainer).clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    losses = [one["loss"] for one in trainer.state.log_history if "loss" in one]
    return state(trainer) - start, losses


@pytest.mark.parametrize("method", TRAINED)
def test_accumulated_or_not_the_steps_are_the_same(folder, tmp_path, method):
    whole, losses = trained(folder, tmp_path, method)
    cut, same = trained(folder, tmp_path, method, per_device_train_batch_size=1, gradient_accumulation_steps=4)
    assert whole.norm() > 0
    assert (cut - whole).norm() < 1e-3 * whole.norm()
    assert same == pytest.approx(losses, rel=1e-3, abs=1e-4)


def test_checkpoints_of_activations_change_nothing(folder, tmp_path):
    plain, _ = trained(folder, tmp_path, "npo")
    saving, _ = trained(folder, tmp_path, "npo", gradient_checkpointing=True)
    assert (saving - plain).norm() < 1e-4 * plain.norm()


def test_the_number_of_steps_and_what_a_part_without_rows_does(folder, tmp_path):
    trainer = make(folder, tmp_path, "npo", max_steps=3)
    assert len(trainer._plan.planned) == 3
    # Rows that a negative weight sends to the other side, and rows that can be read once only, make it no other number.
    own = in_memory(folder)
    signed = uw.UnlearnTrainer(
        model=own["hf_model"], processing_class=own["tokenizer"], forget_dataset=iter(numbered(ROWS)[5:]),
        retain_dataset=iter(numbered(ROWS)[:5]), method="npo", weights=(None, [-1.0, 1.0, 1.0, 1.0, 1.0]), args=arguments(tmp_path, max_steps=3),
    )  # fmt: skip
    assert [len(step.rows) for step in signed._plan.planned] == [4, 4, 4]
    # Eight rows an epoch in steps of six: the last has two rows, and two of its four parts have none.
    uneven = {"num_train_epochs": 1, "gradient_accumulation_steps": 3, "per_device_train_batch_size": 2}
    cut, _ = trained(folder, tmp_path, "npo", **uneven)
    whole, _ = trained(folder, tmp_path, "npo", num_train_epochs=1, per_device_train_batch_size=6)
    assert (cut - whole).norm() < 1e-3 * whole.norm()


def test_it_is_the_loop_of_ones_own(folder, tmp_path):
    moved, _ = trained(folder, tmp_path, "npo")
    own, all_rows = in_memory(folder), rows()
    without_randomness(own["hf_model"])
    method = uw.methods.NPO()
    steps = uw.UnlearnSteps(
        own["model"], all_rows[5:], all_rows[:5], method=method, weights=([1.5, 0.5, 1.0], [1.0, 2.0, 0.5, 1.0, 0.25]), epochs=2.0,
        batch_size=4, retain_ratio=1.0, adapter_mode="continue", seed=42,
    )  # fmt: skip
    start = torch.cat([one.detach().flatten() for one in steps.parameters()]).clone()
    before = {name: value.clone() for name, value in own["hf_model"].state_dict().items()}
    optimizer = torch.optim.SGD(steps.parameters(), lr=1e-3)
    for step in steps:
        method.loss(step).backward()
        optimizer.step()
        optimizer.zero_grad()
    alone = torch.cat([one.detach().flatten() for one in steps.parameters()]) - start
    assert (alone - moved).norm() < 1e-5 * moved.norm()
    assert all(torch.equal(value, before[name]) for name, value in own["hf_model"].state_dict().items())
    assert not steps.finish().model.training


def test_what_it_can_not_do_is_refused(folder, tmp_path):
    for method, message in (
        (uw.methods.Fisher(), "no loss"),
        (uw.methods.ReGLU(), "base"),
        (uw.methods.Stable(), "base"),
    ):
        with pytest.raises(ConfigError, match=message):
            make(folder, tmp_path, method)
    with pytest.raises(ConfigError, match="can't be cut into 2 parts"):
        make(folder, tmp_path, uw.methods.LoReUn(schedule="dynamic"), gradient_accumulation_steps=2)
    with pytest.raises(ConfigError, match="fsdp has cut"):
        make(folder, tmp_path, "npo", fsdp="full_shard")
    with pytest.raises(ConfigError, match="no loss"):
        own = in_memory(folder)
        uw.UnlearnSteps(own["model"], own["forget"], own["retain"], method="fisher")


PROGRAM = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from tests.unlearning.test_trainer import make, trained
folder, out, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
strategy = make(folder, out, "npo").strategy
moved, losses = trained(folder, out, "npo", per_device_train_batch_size=size)
import os
if os.environ.get("RANK", "0") == "0":
    out.mkdir(exist_ok=True)
    (out / f"{strategy}.json").write_text(json.dumps([moved.tolist(), losses]))
"""


def test_two_processes_make_the_steps_of_one(folder, tmp_path, forks):
    forks.start_ranks(2, folder=tmp_path, program=(PROGRAM, folder, tmp_path / "two", 2))
    for ended in forks.ends():
        assert ended.code == 0, ended.errors[-3000:]
    moved, losses = json.loads((tmp_path / "two/MULTI_CPU.json").read_text())
    whole, one = trained(folder, tmp_path, "npo")
    assert (torch.tensor(moved) - whole).norm() < 1e-4 * whole.norm()
    assert losses == pytest.approx(one, rel=1e-4, abs=1e-4)
