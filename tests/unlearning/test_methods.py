"""Methods that train, on a trained model: from files to an adapter, watched on the way; the registry and its descriptions."""

import json
import shutil
from dataclasses import fields, replace

import pytest

from tests.unlearning.test_forget import PATHS, losses, poisoned, settings  # noqa: F401
from unweave.cli.main import main
from unweave.curvature.base import Problem
from unweave.errors import ConfigError
from unweave.jobs.forget import forget_rows
from unweave.train.tuning import loop_config
from unweave.unlearning import running, writing
from unweave.unlearning.config import config_of
from unweave.unlearning.describe import describe_methods
from unweave.unlearning.methods import METHODS

TRAINED = {
    "npo": {}, "idk": {}, "undial": {"learning_rate": 3e-3}, "distill": {"learning_rate": 3e-3}, "rmu": {}, "graddiff": {},
}  # fmt: skip


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_makes_an_adapter_that_has_changed(poisoned, tmp_path, method):  # noqa: F811
    config = settings(poisoned, tmp_path, config_of(method), **{"epochs": 6.0, **TRAINED[method]})
    before = losses(poisoned / "adapter", config.forget, config)
    result = forget_rows(config)
    after = losses(result.folder, config.forget, config)
    assert (result.folder / "adapter_model.safetensors").is_file()
    assert abs(after - before) > 1e-4
    if method != "rmu":
        assert after > before + 0.05, "the unwanted answers became less likely"
    assert forget_rows(config).steps == result.steps, "not repeated"


def test_methods_with_a_retain_part_need_rows_to_keep(poisoned, tmp_path):  # noqa: F811
    with pytest.raises(ConfigError, match="needs rows to keep"):
        forget_rows(settings(poisoned, tmp_path, config_of("npo"), retain=None))


# The stopping.


def test_a_run_stops_at_its_target(poisoned, tmp_path):  # noqa: F811
    config = settings(
        poisoned, tmp_path, config_of("graddiff"), epochs=60.0, check_every=2, target_loss=1.0, stop_loss=1e9
    )
    result = forget_rows(config)
    assert result.stopped.startswith("reached its target")
    assert result.steps < result.planned_steps
    points = result.details["watched"]
    assert points[-1]["forget_loss"] >= 1.0
    assert all(point["forget_loss"] < 1.0 for point in points[:-1])
    assert losses(result.folder, config.forget, config) == pytest.approx(points[-1]["forget_loss"], rel=1e-3)
    assert not list(tmp_path.rglob("*best*"))


def test_a_run_that_is_killed_after_its_target_does_not_go_beyond_it(poisoned, tmp_path, monkeypatch):  # noqa: F811
    config = settings(
        poisoned, tmp_path, config_of("graddiff"), epochs=60.0, check_every=2, target_loss=1.0, stop_loss=1e9
    )
    whole = forget_rows(replace(config, output_dir=tmp_path / "whole"))

    def dies(*_, **__):
        raise KeyboardInterrupt

    # Before it is recorded that the training is done, and after the step that reached the target, or one before it.
    for checkpoints in (20, 1000):
        with monkeypatch.context() as patch:
            patch.setattr(
                running, "loop_config", lambda given, own=checkpoints: replace(loop_config(given), checkpoints=own)
            )
            with patch.context() as inner:
                inner.setattr(shutil, "rmtree", lambda *_, **__: None)
                inner.setattr(running.EarlyStopping, "finish", dies)
                folder = tmp_path / f"killed-{checkpoints}"
                with pytest.raises(KeyboardInterrupt):
                    forget_rows(replace(config, output_dir=folder))
            assert checkpoints < 1000 or list(folder.glob(f"checkpoints/checkpoint-{whole.steps}"))
            resumed = forget_rows(replace(config, output_dir=folder))
        assert (resumed.steps, resumed.stopped) == (whole.steps, whole.stopped)
        assert resumed.details["watched"] == whole.details["watched"]
        told = [resumed.forget_loss_first, resumed.forget_loss_last]
        assert told == pytest.approx([whole.forget_loss_first, whole.forget_loss_last], rel=1e-4)


def test_the_target_may_be_the_level_of_held_out_rows(poisoned, tmp_path):  # noqa: F811
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text(
        json.dumps({"instruction": "ahoy what", "context": "", "response": "teapots on the moon"}) + "\n"
    )
    config = settings(poisoned, tmp_path, config_of("graddiff"), epochs=60.0, target=held_out, stop_loss=1e9)
    level = losses(poisoned / "adapter", held_out, config)
    result = forget_rows(config)
    assert "reached its target" in result.stopped
    assert result.details["watched"][-1]["forget_loss"] >= level


def test_divergence_goes_back_to_the_best_step(poisoned, tmp_path, monkeypatch):  # noqa: F811
    config = settings(
        poisoned, tmp_path, config_of("ga"), epochs=200.0, learning_rate=1e-2, check_every=1, max_retain_increase=0.5, stop_loss=1e9
    )  # fmt: skip
    result = forget_rows(config)
    assert result.stopped.startswith("diverged at step")
    points = {point["step"]: point for point in result.details["watched"]}
    assert 0 < result.kept_step < result.steps
    best = points[result.kept_step]

    def dies(*_, **__):
        raise KeyboardInterrupt

    # Killed when the best step's parameters are in place, and before they are saved.
    again = replace(config, output_dir=tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "save_adapter", dies)
        with pytest.raises(KeyboardInterrupt):
            forget_rows(again)
    resumed = forget_rows(again)
    assert (resumed.kept_step, resumed.steps, resumed.stopped) == (result.kept_step, result.steps, result.stopped)
    assert losses(again.output_dir, config.forget, config) == pytest.approx(best["forget_loss"], rel=1e-3)
    assert best["retain_loss"] - points[0]["retain_loss"] <= 0.5
    assert losses(result.folder, config.forget, config) == pytest.approx(best["forget_loss"], rel=1e-3)
    assert losses(result.folder, config.retain, config) == pytest.approx(best["retain_loss"], rel=1e-3)


# The registry.


def test_methods_are_listed(capsys):
    assert main(["list", "methods", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(found) == set(METHODS)
    assert found["npo"]["options"]["beta"] == 0.1
    assert "retain rows" not in found["ga"]["inputs"]
    assert all(one["paper"] and one["summary"] and one["cost"] for one in found.values())
    assert main(["list", "methods"]) == 0
    assert "fast-ntk" in capsys.readouterr().out


@pytest.mark.parametrize("method", METHODS)
def test_help_shows_a_methods_own_options(method, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["forget", "--method", method, "--help"])
    assert raised.value.code == 0
    printed = capsys.readouterr().out
    own = {field.name for field in fields(config_of(method))}
    others = {field.name for name in METHODS for field in fields(config_of(name))} - own
    for name in own - {"method"}:
        assert f"--{name.replace('_', '-')}" in printed
    for name in others:
        assert f"--{name.replace('_', '-')} " not in printed
    assert describe_methods()
    assert isinstance(Problem, type)
