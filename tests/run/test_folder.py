"""Output folders: complete runs, runs of other inputs, other owners, two at once."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.folders import ROWS, save_model, write_rows
from unweave import outputs, temporary
from unweave.cli.main import main
from unweave.errors import ConfigError
from unweave.locks import locked
from unweave.run.folder import RunFolder
from unweave.run.inputs import of_path
from unweave.train import planned, sft
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune


@pytest.fixture
def settings(tmp_path):
    return TrainConfig(
        model=str(save_model(tmp_path / "base")), data=write_rows(tmp_path / "d.jsonl"), output_dir=tmp_path / "out", dtype="float32", epochs=3.0,
        batch_size=4, learning_rate=1e-2, lora_r=2, snapshots=(0.5,),
    )  # fmt: skip


@pytest.fixture
def overwriting():
    outputs.overwrite()
    yield
    outputs.overwrite(False)


@dataclasses.dataclass(frozen=True)
class Config:
    data: Path
    seed: int = 0


def run_of(folder, *, command="train", data=None, seed=0):
    config = Config(data or folder.parent / "data", seed)
    return RunFolder(folder, command, config, inputs={"data": of_path(config.data)})


def weights(folder):
    return (folder / "adapter_model.safetensors").read_bytes()


def scaled(path, factor):
    """Other weights of the same size and time in the place of a file's."""
    times = path.stat()
    save_file({name: own * factor for name, own in load_file(path).items()}, path, metadata={"format": "pt"})
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_other_weights_in_the_same_folder_are_another_run(settings, capsys, monkeypatch):
    fine_tune(settings)
    first = weights(settings.output_dir)
    capsys.readouterr()
    os.utime(settings.data)
    monkeypatch.chdir(settings.output_dir.parent)
    relative = dataclasses.replace(settings, model="base", data=Path("d.jsonl"), output_dir=Path("out"))
    assert fine_tune(relative).folder == Path("out")
    assert "out is complete, nothing to do" in capsys.readouterr().err
    scaled(Path(settings.model) / "model.safetensors", 1.5)
    fine_tune(settings)
    told = capsys.readouterr().err
    assert "is complete" not in told
    assert "of other inputs, options or versions, and is replaced" in told
    assert weights(settings.output_dir) != first


def test_an_interrupted_run_of_other_rows_is_not_continued(settings, monkeypatch):
    write_rows(settings.data, ROWS[:-1])
    fresh = fine_tune(dataclasses.replace(settings, output_dir=settings.output_dir.parent / "fresh"))
    write_rows(settings.data)
    original = planned.PlannedTrainer.compute_loss

    def dies(self, *args, **options):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return original(self, *args, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(planned.PlannedTrainer, "compute_loss", dies)
        fine_tune(settings)
    assert list(settings.output_dir.glob("checkpoints/checkpoint-*"))
    assert list(settings.output_dir.glob("snapshots/*"))
    write_rows(settings.data, ROWS[:-1])
    fine_tune(dataclasses.replace(settings, snapshots=()))
    assert weights(settings.output_dir) == weights(fresh.folder)
    assert not (settings.output_dir / "snapshots").exists(), "a snapshot of the other run must not be found"


def test_an_adapter_of_an_earlier_run_is_not_left_beside_a_full_model(settings):
    fine_tune(settings)
    (settings.output_dir / "notes.txt").write_text("mine")
    fine_tune(dataclasses.replace(settings, tuning="full", snapshots=()))
    names = {path.name for path in settings.output_dir.iterdir()}
    assert "model.safetensors" in names
    assert "notes.txt" in names
    assert not {"adapter_config.json", "adapter_model.safetensors", "snapshots", ".lock"} & names


def test_other_library_versions_are_said_and_leave_a_result_complete(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").write_text("x")
    run = run_of(tmp_path / "out")
    run.start()
    run.finish({"a": 1})
    monkeypatch.setattr("unweave.run.folder.libraries", lambda: {"torch": "9.9"})
    other = run_of(tmp_path / "out")
    assert other.finished() == {"a": 1}
    assert "it was made with torch" in capsys.readouterr().err
    assert other.digest != run.digest, "what is kept on the way is not mixed"
    monkeypatch.setattr("unweave.run.folder.__version__", "9.9")
    assert run_of(tmp_path / "out").finished() is None


def test_a_result_is_of_what_the_run_began_with(tmp_path):
    (tmp_path / "data").write_text("x")
    run = run_of(tmp_path / "out")
    run.start()
    (tmp_path / "data").write_text("y")
    run.finish({})
    assert run_of(tmp_path / "out").finished() is None


def test_the_folder_of_another_command_is_refused(tmp_path):
    (tmp_path / "data").write_text("x")
    run_of(tmp_path / "out").start()
    (tmp_path / "out/model.safetensors").write_text("old")
    with pytest.raises(ConfigError, match="holds a run of `unweave train`, and this is `unweave forget`") as raised:
        run_of(tmp_path / "out", command="forget").start()
    assert "`overwrite`" in raised.value.remedy
    assert (tmp_path / "out/model.safetensors").read_text() == "old"


@pytest.mark.usefixtures("overwriting")
def test_overwriting_removes_what_unweave_wrote_and_nothing_else(tmp_path, capsys):
    (tmp_path / "data").write_text("x")
    out = tmp_path / "out"
    run_of(out).start()
    for name in (
        "model.safetensors",
        "notes.txt",
        "snapshots/50/adapter_model.safetensors",
        "snapshots/mine.txt",
        "checkpoints/a/b",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("old")
    other = run_of(out, command="forget")
    assert other.finished() is None
    other.start()
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "notes.txt", "snapshots/mine.txt", "run.json", "config.yaml",
    }  # fmt: skip
    assert json.loads((out / "run.json").read_text())["command"] == "forget"
    assert "replaced (`overwrite`)" in capsys.readouterr().err
    shutil.rmtree(out)
    out.mkdir()
    (out / "model.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match=r"no record of a run that wrote them: model\.safetensors"):
        run_of(out).start()
    assert (out / "model.safetensors").read_text() == "mine"


def test_files_of_nobody_knows_whom_are_refused_only_where_they_would_be_replaced(tmp_path):
    (tmp_path / "data").write_text("x")
    out = tmp_path / "out"
    out.mkdir()
    (out / "log.txt").write_text("mine")
    run_of(out).start()
    assert (out / "log.txt").read_text() == "mine"


def test_a_run_does_not_remove_what_it_reads(tmp_path):
    (tmp_path / "data").write_text("x")
    out = tmp_path / "out"
    run_of(out).start()
    (out / "snapshots/50").mkdir(parents=True)
    (out / "snapshots/50/adapter_model.safetensors").write_text("old")
    with pytest.raises(ConfigError, match=r"The run reads 'snapshots/50/adapter_model\.safetensors'"):
        run_of(out, data=out / "snapshots/50/adapter_model.safetensors").start()
    assert (out / "snapshots/50/adapter_model.safetensors").read_text() == "old"


def test_the_second_process_at_a_folder_is_refused(settings, capsys):
    words = ["train", "--model", settings.model, "--data", str(settings.data), "--output-dir", str(settings.output_dir)]
    with locked(settings.output_dir / ".lock"):
        assert main(words) == 1
    told = capsys.readouterr().err
    assert f"Another process is at work in this output folder. It is process {os.getpid()} on " in told
    assert "choose another output folder" in told


def test_a_run_that_is_killed_after_its_training_does_not_train_again(settings, monkeypatch):
    def dies(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sft, "write_card", dies)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(settings)
    with monkeypatch.context() as patch:
        patch.setattr(planned.PlannedTrainer, "compute_loss", dies)
        patch.setattr(temporary.shutil, "rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(settings)
    assert (settings.output_dir / "result.json").is_file(), "killed while it tidied up"
    kept = weights(settings.output_dir)
    fine_tune(settings)
    assert weights(settings.output_dir) == kept
    assert not [path for path in settings.output_dir.iterdir() if "checkpoints" in path.name]
