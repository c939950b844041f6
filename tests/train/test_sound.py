"""What a step did is looked at: weights that are no numbers, and steps that changed nothing, never pass for a model that was trained."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from unweave import progress
from unweave.arguments import quoted
from unweave.cli.main import main
from unweave.errors import ConfigError, DataError, TrainingError
from unweave.jobs.forget import forget_rows
from unweave.models.loading import load
from unweave.train import loop, tuning
from unweave.train.config import TrainConfig
from unweave.train.loop import LoopConfig, run_loop
from unweave.train.sft import fine_tune
from unweave.train.soundness import sums
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import Edit, available, get_method

TINY = {"dtype": "float32", "lora_r": 2, "lora_dropout": 0.0, "batch_size": 4, "max_length": 64}


@pytest.fixture
def base(tmp_path):
    return save_model(tmp_path / "base")


def training(tmp_path, base, **changes):
    data = write_rows(tmp_path / "d.jsonl")
    return TrainConfig(**{"model": str(base), "data": data, "output_dir": tmp_path / "o", "epochs": 1.0, **TINY, **changes})  # fmt: skip


def forgetting(tmp_path, base, method, **changes):
    forget = write_rows(tmp_path / "f.jsonl", ROWS[6:])
    retain = write_rows(tmp_path / "r.jsonl", ROWS[:6])
    values = {"model": str(base), "forget": forget, "retain": retain, "output_dir": tmp_path / "o", "method": method, "epochs": 1.0}  # fmt: skip
    return config_of(method)(**{**values, **TINY, **changes})


def nothing_left(folder):
    return not [name for name in ("adapter_model.safetensors", "model.safetensors", "result.json") if (folder / name).exists()]  # fmt: skip


@pytest.mark.parametrize(("tuning", "steps"), [("lora", 1), ("full", 1), ("lora", 3)])
def test_weights_of_the_last_step_are_looked_at(tmp_path, base, monkeypatch, tuning, steps):
    step = loop.MasterAdamW.step
    made = []

    def broken(self, *args):
        value = step(self, *args)
        made.append(1)
        if len(made) == steps:
            with torch.no_grad():
                self.model_parameters[-1].view(-1)[-1] = math.inf
        return value

    monkeypatch.setattr(loop.MasterAdamW, "step", broken)
    settings = training(tmp_path, base, tuning=tuning, epochs=steps / 2, snapshots=() if tuning == "full" else (1.0,))
    with pytest.raises(TrainingError, match=f"Step {steps} made weights that are not all finite") as raised:
        fine_tune(settings)
    assert "layers.1" in str(raised.value) or "norm" in str(raised.value)
    assert "`learning_rate`" in raised.value.remedy
    assert nothing_left(settings.output_dir)
    assert not list(settings.output_dir.glob("snapshots/*/adapter_model.safetensors"))


def test_a_step_size_that_is_far_too_large_ends_in_an_error(tmp_path, base):
    # One step: its loss is that of the model before, and the weights after it are finite.
    with pytest.raises(TrainingError, match="What the model computes is no longer finite"):
        forget_rows(forgetting(tmp_path, base, "graddiff", learning_rate=1e30, epochs=0.5))
    with pytest.raises(TrainingError, match="What the model computes is no longer finite"):
        fine_tune(training(tmp_path, base, learning_rate=1e30, epochs=0.5, output_dir=tmp_path / "p"))
    assert nothing_left(tmp_path / "p")
    assert nothing_left(tmp_path / "o")


def test_steps_that_change_nothing_are_no_training(tmp_path, base, monkeypatch, capsys):
    mean = tuning.mean_token_loss
    monkeypatch.setattr(tuning, "mean_token_loss", lambda *args: 0 * mean(*args))
    settings = training(tmp_path, base)
    with pytest.raises(TrainingError, match=r"None of 2 step\(s\) had a gradient other than zero"):
        fine_tune(settings)
    assert nothing_left(settings.output_dir)
    call = f"train --model {base} --data {settings.data} --output-dir {tmp_path / 'p'} --dtype float32"
    assert main(call.split()) == 1
    assert "nothing was trained" in capsys.readouterr().err


def test_steps_that_vanish_in_rounding_are_said(tmp_path, base, monkeypatch):
    said = []
    monkeypatch.setattr(progress, "say", said.append)
    # Smaller than what float32 can add to any weight.
    fine_tune(training(tmp_path, base, learning_rate=1e-45, tuning="full"))
    assert any("no step changed a weight" in line for line in said)
    said.clear()
    fine_tune(training(tmp_path, base, learning_rate=1e-4, tuning="full", output_dir=tmp_path / "p"))
    assert not any("no step changed a weight" in line for line in said)


def test_a_change_of_one_value_by_one_place_counts():
    weight = torch.randn(300, 200, generator=torch.Generator().manual_seed(0)).bfloat16()
    before = sums([weight])
    assert sums([weight.clone()]) == before
    weight[17, 3] *= 1 + 2**-7
    assert sums([weight]) != before


EDITS = sorted(name for name, method in available().items() if issubclass(method, Edit))


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("what", ["nothing", "nan"])
def test_edits_are_looked_at(tmp_path, base, monkeypatch, name, what):
    def edit(method, context):
        if what == "nan":
            next(own for own in context.loaded.model.parameters() if own.requires_grad).data.fill_(math.nan)
        return {}

    monkeypatch.setattr(get_method(name), "edit", edit)
    with pytest.raises(TrainingError, match="The edit made" if what == "nan" else "changed no weight"):
        forget_rows(forgetting(tmp_path, base, name))
    assert nothing_left(tmp_path / "o")


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"learning_rate": np.float32("nan")}, "learning_rate"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"seed": 2**32}, "seed"),
        ({"seed": np.int64(-1)}, "seed"),
        ({"batch_size": 0}, "batch_size"),
        ({"snapshots": (math.nan,)}, "snapshots"),
    ],
)
def test_configs_made_in_python_are_checked_before_the_work(tmp_path, base, changes, argument):
    with pytest.raises(ConfigError) as raised:
        fine_tune(training(tmp_path, base, **changes))
    assert raised.value.where == quoted(argument)
    assert not (tmp_path / "o").exists()


def test_schedules_are_those_that_need_no_more_than_steps(tmp_path, base, capsys):
    call = ["train", "--data", "d", "--output-dir", str(tmp_path / "o"), "--lr-scheduler", "cosine_with_min_lr"]
    with pytest.raises(SystemExit):
        main(call)
    assert "cosine_with_restarts" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="There is no schedule 'cosin'") as raised:
        fine_tune(training(tmp_path, base, lr_scheduler="cosin"))
    assert raised.value.remedy == "did you mean 'cosine'?"
    for name in ("polynomial", "inverse_sqrt", "cosine_with_restarts"):
        assert fine_tune(training(tmp_path, base, lr_scheduler=name, output_dir=tmp_path / name)).steps == 2


def test_a_loop_of_its_own_is_checked_too(tmp_path, base):
    model = load(str(base)).model
    with pytest.raises(ConfigError, match="learning_rate can't be nan"):
        run_loop(
            model, [[0]], collate=list, loss=lambda *_: None, config=LoopConfig(learning_rate=math.nan), output_dir=tmp_path / "o", identity={}, description="x"
        )  # fmt: skip


def weigh(path, weights):
    path.write_text("".join(json.dumps({"index": n, "weight": own}) + "\n" for n, own in enumerate(weights)))
    return path


def test_rows_that_are_left_must_count(tmp_path, base):
    # The first row has no room: what is left of the rows to forget weighs nothing.
    long = {"instruction": "what " * 70, "context": "", "response": "Paris"}
    settings = forgetting(tmp_path, base, "graddiff", forget_weights=weigh(tmp_path / "w", [1.0, 0.0, 0.0]))
    write_rows(settings.forget, [long, *ROWS[6:]])
    with pytest.raises(DataError, match="All rows to forget that are left have a weight of zero"):
        forget_rows(settings)
    write_rows(settings.forget, ROWS[6:])
    kept = weigh(tmp_path / "k", [0.0, -1.0, 0.0, -1.0, 0.0, 0.0])
    with pytest.raises(DataError, match="All rows to keep that are left have a weight of zero"):
        forget_rows(dataclasses.replace(settings, forget_weights=None, retain_weights=kept))
