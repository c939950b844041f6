"""What a tracker is sent: TensorBoard's files, read back with its own reader."""

import importlib.util
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.folders import ROWS, save_model, write_rows
from unweave.cli.main import main
from unweave.errors import ConfigError, MissingPackageError
from unweave.jobs.forget import forget_rows
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.train.trackers import require_tracker, tracked_arguments
from unweave.unlearning.config import config_of


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)


def scalars(folder):
    """Name to pairs of step and value."""
    found = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]}


def training(tmp_path, **changes):
    values = {
        "model": str(tmp_path / "base"), "data": tmp_path / "d.jsonl", "output_dir": tmp_path / "out", "epochs": 2.0, "batch_size": 4,
        "learning_rate": 1e-2, "lora_r": 4, "dtype": "float32", "warmup_ratio": 0.0, "lr_scheduler": "linear",
    }  # fmt: skip
    return TrainConfig(**{**values, **changes})


@pytest.fixture
def base(tmp_path):
    save_model(tmp_path / "base")
    write_rows(tmp_path / "d.jsonl")
    return tmp_path


def test_each_step_of_a_training_run_is_logged_and_changes_nothing(base):
    silent = fine_tune(training(base, output_dir=base / "silent"))
    assert not (base / "silent/tensorboard").exists()
    result = fine_tune(training(base, report_to="tensorboard"))
    found = scalars(base / "out")
    assert [step for step, _ in found["train/loss"]] == [1, 2, 3, 4]
    assert found["train/loss"][-1][1] == pytest.approx(result.final_loss, rel=1e-5)
    assert result.final_loss == silent.final_loss
    assert [value for _, value in found["train/learning_rate"]] == pytest.approx([1e-2, 7.5e-3, 5e-3, 2.5e-3])
    assert len(found["train/grad_norm"]) == 4
    weights = [(base / name / "adapter_model.safetensors").read_bytes() for name in ("silent", "out")]
    assert weights[0] == weights[1]
    # Who follows a run does not make it another one; another run takes the files of this one away.
    assert fine_tune(training(base, output_dir=base / "silent", report_to="tensorboard")).seconds == silent.seconds
    fine_tune(training(base, epochs=1.0))
    assert not (base / "out/tensorboard").exists()


def test_what_is_measured_on_the_way_of_forgetting_is_logged(base):
    fine_tune(training(base, output_dir=base / "adapter", epochs=20.0))
    write_rows(base / "forget.jsonl", ROWS[6:])
    write_rows(base / "retain.jsonl", ROWS[:6])
    config = config_of("graddiff")(
        model=str(base / "adapter"), forget=base / "forget.jsonl", retain=base / "retain.jsonl", output_dir=base / "out", adapter_mode="continue",
        epochs=2.0, batch_size=4, learning_rate=1e-4, dtype="float32", check_every=2, target_loss=50.0, report_to="tensorboard",
    )  # fmt: skip
    points = forget_rows(config).details["watched"]
    found = scalars(base / "out")
    assert [(point["step"], point["forget_loss"]) for point in points] == [
        (step, pytest.approx(value, rel=1e-5)) for step, value in found["train/forget_loss"]
    ]
    assert [step for step, _ in found["train/retain_loss"]] == [0, 2, 4]
    assert {value for _, value in found["train/target"]} == {50.0}


def test_a_tracker_that_there_is_not_is_refused_before_anything_is_read(tmp_path, monkeypatch, capsys):
    nowhere = training(tmp_path, report_to="wandb")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match="pip install wandb"):
        fine_tune(nowhere)
    with pytest.raises(ConfigError, match="did you mean 'tensorboard'"):
        require_tracker("tensorbord")
    with pytest.raises(ConfigError, match="guarantee"):
        fine_tune(training(tmp_path, report_to="trackio", dp_epsilon=2.0))
    arguments = [f"--{name} {tmp_path / name}" for name in ("forget", "output-dir")]
    code = main(["forget", *" ".join(arguments).split(), "--method", "ga", "--report-to", "trackio"])
    assert code == 1
    assert "--report-to trackio needs the package 'trackio'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_callbacks_are_those_of_transformers_and_publish_nothing(monkeypatch):
    made = {}
    module = sys.modules["transformers.integrations.integration_utils"]
    for name in ("TrackioCallback", "WandbCallback"):
        monkeypatch.setattr(module, name, lambda name=name: made.setdefault(name, name))
    from unweave.train.trackers import tracking

    assert tracking("none", None) == []
    assert tracking("trackio", None) == ["TrackioCallback"]
    assert tracking("wandb", None) == ["WandbCallback"]
    assert tracked_arguments("none", None)["logging_strategy"] == "no"
    assert tracked_arguments("trackio", None)["trackio_static_space_id"] is False
