"""Snapshots of other trainers: at their shares of the steps, as folders that load, once whatever the processes."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

from tests.notebook import in_memory, write_files
from unweave.errors import ConfigError
from unweave.models.loading import load
from unweave.train.snapshots import SnapshotCallback, due_steps


class Kept(SnapshotCallback):
    """Remembers the adapter's weights after each step, too."""

    def on_step_end(self, args, state, control, **kwargs):
        super().on_step_end(args, state, control, **kwargs)
        weights = {name: own.detach().clone() for name, own in kwargs["model"].named_parameters() if own.requires_grad}
        self.__dict__.setdefault("after", {})[state.global_step] = weights


def trained(folder, callback, **changes):
    own = in_memory(folder)
    options = {"max_steps": 20, "report_to": "none", "use_cpu": True, "save_strategy": "no", "learning_rate": 1e-2}
    arguments = TrainingArguments(str(folder / "trained"), **options, **changes)
    trainer = Trainer(
        model=own["hf_model"],
        processing_class=own["tokenizer"],
        args=arguments,
        train_dataset=own["tokenized"],
        callbacks=[callback],
    )
    trainer.train()
    return own["hf_model"]


def test_snapshots_are_the_adapter_at_their_steps(tmp_path):
    write_files(tmp_path)
    kept = Kept(at=(0.05, 0.1, 1.0))
    trained(tmp_path, kept)
    for name, step in (("05", 1), ("10", 2), ("100", 20)):
        place = tmp_path / "trained/snapshots" / name
        found = load_file(place / "adapter_model.safetensors")
        for key, own in kept.after[step].items():
            assert torch.equal(found[key.replace(".default", "")], own)
        loaded = load(str(place))
        assert (loaded.base, loaded.adapter) == (str(tmp_path / "base"), str(place))
    assert not torch.equal(*(next(iter(kept.after[step].values())) for step in (1, 20)))


def test_a_step_of_warm_up_is_not_waited_for():
    assert due_steps((0.05, 0.1), 20, warms_up=True) == {2: [0.05, 0.1]}
    assert due_steps((0.01, 1.0), 10, warms_up=False) == {1: [0.01], 10: [1.0]}


def test_a_sharded_model_is_left_to_its_trainer(tmp_path):
    callback = SnapshotCallback(at=(0.5,))
    arguments = SimpleNamespace(
        get_warmup_steps=lambda _: 0, fsdp=["full_shard"], deepspeed=None, output_dir=str(tmp_path)
    )
    state, control = (
        SimpleNamespace(max_steps=4, global_step=2, is_world_process_zero=True),
        SimpleNamespace(should_save=False),
    )
    callback.on_train_begin(arguments, state, control)
    callback.on_step_end(arguments, state, control, model=None)
    assert control.should_save
    assert list(tmp_path.iterdir()) == []


def test_one_process_of_several_saves(tmp_path):
    callback = SnapshotCallback(at=(0.5,))
    arguments = SimpleNamespace(get_warmup_steps=lambda _: 0, fsdp="", deepspeed=None, output_dir=str(tmp_path))
    state = SimpleNamespace(max_steps=4, global_step=2, is_world_process_zero=False)
    callback.on_train_begin(arguments, state, None)
    callback.on_step_end(arguments, state, None, model=None)
    assert list(tmp_path.iterdir()) == []


def test_shares_are_of_a_run():
    with pytest.raises(ConfigError, match="share of the run"):
        SnapshotCallback(at=(5,))
