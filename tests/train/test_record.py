"""A recorded run can be repeated to the last bit, dropout and interruptions included, and says what it kept."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.folders import ROWS, save_model, write_rows
from unweave.errors import ConfigError, DataError, ModelError
from unweave.jobs.plans import train as plan_of
from unweave.train import loop
from unweave.train.config import TrainConfig
from unweave.train.record import RECORD, read_training_record, state_steps
from unweave.train.replay import Replay, departure, open_run
from unweave.train.sft import _recorder, fine_tune
from unweave.train.states import of_optimizer, read_snapshot, read_state, write_snapshot
from unweave.train.trainer_states import of_checkpoint, snapshot_of


def config(tmp_path, **changes):
    base = tmp_path / "base"
    if not base.exists():
        save_model(base)
    values = {
        "model": str(base), "data": write_rows(tmp_path / "d.jsonl"), "output_dir": tmp_path / "out", "epochs": 4.0, "batch_size": 4,
        "learning_rate": 2e-2, "lora_r": 2, "lora_dropout": 0.3, "weight_decay": 0.1, "max_grad_norm": 0.5, "dtype": "float32", "record": True,
        "record_states": 2, "snapshots": (0.2,),
    }  # fmt: skip
    return TrainConfig(**{**values, **changes})


class KilledError(Exception):
    """Stands for a kill."""


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in (folder / RECORD).rglob("*")
        if path.is_file()
    }


def test_a_run_that_was_killed_leaves_the_same_record_which_repeats_it_bit_by_bit(tmp_path, monkeypatch):
    settings = config(tmp_path)
    planned = plan_of(settings).bytes["record"]
    fine_tune(settings)
    whole = files_of(settings.output_dir)
    record = read_training_record(settings.output_dir)
    names = len(record.parameters) * (1 + 3 * 3)
    assert planned * 0.95 <= sum(map(len, whole.values())) <= planned + 200 * names, "beside the names of the tensors"
    assert record.states == state_steps(8, 2, [2]) == [0, 2, 4, 8]
    assert len(record.rates) == len(record.norms) == len(record.losses) == len(record.steps) == 8
    assert record.rates[0] == 0.0, "the first step of a warm-up"
    assert max(record.norms) > settings.max_grad_norm, "the test clips"

    run, _ = open_run(settings.output_dir)
    replay = Replay(run)
    end = replay.until(8)
    assert departure(run, end) == 0.0
    final = load_file(settings.output_dir / "adapter_model.safetensors")
    for name, own in end.parameters.items():
        assert torch.equal(final[name.replace(".default", "")], own)
    kept = record.state(4)
    for part in ("parameters", "first", "second"):
        middle = getattr(Replay(run, record.state(2)).until(4), part)
        assert all(torch.equal(getattr(kept, part)[name], middle[name]) for name in middle)

    def killed(self, step, optimizer):
        real(self, step, optimizer)
        if step == 5:
            raise KilledError

    real = loop.Recorder.after_step
    again = config(tmp_path, output_dir=tmp_path / "again")
    monkeypatch.setattr(loop.Recorder, "after_step", killed)
    with pytest.raises(KilledError):
        fine_tune(again)
    assert not (again.output_dir / RECORD / "record.json").exists(), "half a record is none"
    monkeypatch.setattr(loop.Recorder, "after_step", real)
    fine_tune(again)
    assert files_of(again.output_dir) == whole


def test_what_can_not_be_repeated_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="private training"):
        _recorder(config(tmp_path), [], SimpleNamespace(privacy="spent"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="runs in one process"):
        _recorder(config(tmp_path), [], None)


def test_other_rows_and_no_record_are_refused(tmp_path):
    settings = config(tmp_path, epochs=1.0, lora_dropout=0.0)
    fine_tune(settings)
    write_rows(settings.data, [{**ROWS[0], "response": "green"}, *ROWS[1:]])
    with pytest.raises(DataError, match=r"1 row\(s\) have other tokens|others"):
        open_run(settings.output_dir)
    with pytest.raises(ModelError, match="no record"):
        read_training_record(tmp_path / "base")
    with pytest.raises(ModelError, match="no state"):
        read_state(settings.data)


def test_the_optimizer_of_a_checkpoint_is_read_as_tensors_alone(tmp_path):
    model = torch.nn.Sequential(OrderedDict(linear=torch.nn.Linear(3, 2), norm=torch.nn.LayerNorm(2)))
    optimizer = torch.optim.AdamW(
        [
            {"params": [model[0].weight], "weight_decay": 0.1},
            {"params": [model[0].bias, model[1].weight, model[1].bias]},
        ],
        lr=1e-2,
    )
    for _ in range(3):
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    save_file({name: own.detach() for name, own in model.named_parameters()}, tmp_path / "model.safetensors")
    parameters = dict(model.named_parameters())
    found = of_checkpoint(tmp_path, parameters)
    assert (found.state.step, found.rate, found.weight_decay) == (3, 1e-2, 0.1)
    for name, own in parameters.items():
        assert torch.equal(found.state.second[name], optimizer.state[own]["exp_avg_sq"]), name
        assert torch.equal(found.state.parameters[name], own)
    write_snapshot(tmp_path / "own.safetensors", snapshot_of(optimizer, model, step=3))
    again = read_snapshot(tmp_path / "own.safetensors")
    assert (again.state.step, again.rate, again.epsilon, again.beta2) == (3, 1e-2, 1e-8, 0.999)
    assert all(
        torch.equal(again.state.first[name], optimizer.state[own]["exp_avg"]) for name, own in parameters.items()
    )

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"state": {0: Evil()}}, tmp_path / "optimizer.pt")
    with pytest.raises(ModelError, match="more than tensors"):
        of_checkpoint(tmp_path, parameters)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "optimizer.pt").unlink()
    with pytest.raises(ModelError, match="holds no optimizer"):
        of_checkpoint(tmp_path, parameters)


def test_a_state_before_the_first_step_has_no_moments():
    parameter = torch.nn.Parameter(torch.ones(2))
    state = of_optimizer(torch.optim.AdamW([parameter]), ["p"], step=0)
    with pytest.raises(ModelError, match="before its first step"):
        state.preconditioner(beta=0.999, epsilon=1e-8)
