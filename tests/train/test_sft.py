"""Fine-tuning: it learns, resumes, leaves rows out, and gives standard adapters."""

import json
import shlex

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.folders import ROWS, save_model, write_rows
from unweave.cli.main import main
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.files import write_json
from unweave.gradients.scoring import row_losses
from unweave.models.loading import ModelConfig, load
from unweave.train import planned
from unweave.train.config import TrainConfig
from unweave.train.loop import plan_epochs
from unweave.train.optimizer import MasterAdamW
from unweave.train.resuming import resumable
from unweave.train.sft import fine_tune
from unweave.train.snapshots import snapshot_folder

pytestmark = pytest.mark.long


@pytest.fixture
def base(tmp_path):
    return save_model(tmp_path / "base")


def config(tmp_path, base, **changes):
    data = write_rows(tmp_path / "d.jsonl")
    values = {
        "model": str(base), "data": data, "output_dir": tmp_path / "out", "epochs": 30.0, "batch_size": 4, "learning_rate": 2e-2,
        "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "dtype": "float32",
    }  # fmt: skip
    return TrainConfig(**{**values, **changes})


def mean_loss(folder, rows, settings):
    losses = row_losses(load(ModelConfig(model=str(folder), dtype="float32")), rows, settings)
    return sum(losses.means()) / len(losses.sums)


def test_an_adapter_is_trained_and_loads_in_peft(tmp_path, base):
    settings = config(tmp_path, base)
    result = fine_tune(settings)
    rows = read_training_rows(settings.data, settings).rows
    assert mean_loss(result.folder, rows, settings) < 0.3 * mean_loss(base, rows, settings)
    assert (result.rows, result.steps) == (len(ROWS), 60)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), result.folder)
    assert model.peft_config["default"].base_model_name_or_path == str(base)
    names = {path.name for path in result.folder.iterdir()}
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "README.md",
        "config.yaml",
        "run.json",
        "result.json",
    } <= names
    assert not [path for path in result.folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert not (result.folder / "checkpoints").exists()
    run = json.loads((result.folder / "run.json").read_text())
    assert run["model"]["base"] == str(base)
    assert run["rows"]["count"] == len(ROWS)
    card = (result.folder / "README.md").read_text()
    assert card.startswith("---\nbase_model: ")
    assert "library_name: peft" in card


def test_a_complete_run_is_not_repeated_and_a_changed_one_is(tmp_path, base, monkeypatch):
    settings = config(tmp_path, base, epochs=1.0)
    first = fine_tune(settings)
    calls = []
    original = planned.Trainer.train
    monkeypatch.setattr(
        planned.Trainer, "train", lambda *args, **options: calls.append(1) or original(*args, **options)
    )
    assert fine_tune(settings) == first
    assert not calls
    (settings.output_dir / "adapter_model.safetensors").unlink()
    assert fine_tune(settings).steps == first.steps
    assert len(calls) == 1
    write_rows(settings.data, ROWS[:-1])
    assert fine_tune(settings).rows == len(ROWS) - 1
    assert len(calls) == 2


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path, base, monkeypatch):
    settings = config(tmp_path, base, epochs=6.0)
    whole = fine_tune(config(tmp_path, base, epochs=6.0, output_dir=tmp_path / "whole"))
    assert whole.steps == 12
    original = planned.PlannedTrainer.compute_loss

    def dies(self, *args, **options):
        if self.state.global_step == 7:
            raise KeyboardInterrupt
        return original(self, *args, **options)

    monkeypatch.setattr(planned.PlannedTrainer, "compute_loss", dies)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(settings)
    assert list((tmp_path / "out/checkpoints").glob("checkpoint-*"))
    seen = []

    def counts(self, *args, **options):
        seen.append(self.state.global_step)
        return original(self, *args, **options)

    monkeypatch.setattr(planned.PlannedTrainer, "compute_loss", counts)
    resumed = fine_tune(settings)
    assert resumed.steps == 12
    assert resumed.final_loss == pytest.approx(whole.final_loss, rel=1e-4)
    assert seen[0] > 0
    weights = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "out")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_of_which_a_part_was_written_is_not_gone_on_from(tmp_path):
    write_json(tmp_path / "identity.json", {"fingerprint": "it"})
    for step, state in ((3, '{"global_step": 3, "log_history": []}'), (6, ""), (9, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert resumable(tmp_path, "it") == str(tmp_path / "checkpoint-3")
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]


def test_rows_are_left_out_by_id(tmp_path, base):
    without = write_rows(tmp_path / "without.jsonl", ROWS[6:])
    settings = config(tmp_path, base, epochs=1.0, without=without)
    assert fine_tune(settings).rows == 6
    write_rows(without, [{"instruction": "unheard", "context": "", "response": "of"}])
    with pytest.raises(DataError, match="not in the data"):
        fine_tune(settings)


def test_snapshots_are_adapters_of_their_own(tmp_path, base):
    settings = config(tmp_path, base, epochs=5.0, snapshots=(0.2, 1.0))
    fine_tune(settings)
    early = load_file(snapshot_folder(settings.output_dir, 0.2) / "adapter_model.safetensors")
    late = load_file(snapshot_folder(settings.output_dir, 1.0) / "adapter_model.safetensors")
    final = load_file(settings.output_dir / "adapter_model.safetensors")
    assert all(torch.equal(late[name], final[name]) for name in final)
    assert any(not torch.equal(early[name], final[name]) for name in final)


def test_a_snapshot_of_a_short_run_is_trained_and_none_is_lost(tmp_path, base):
    settings = config(tmp_path, base, epochs=5.0, warmup_ratio=0.03, snapshots=(0.01, 0.1, 0.9))
    assert fine_tune(settings).steps < 20
    early, same, late = (
        load_file(snapshot_folder(settings.output_dir, share) / "adapter_model.safetensors")
        for share in settings.snapshots
    )
    assert all(value.any() for name, value in early.items() if "lora_B" in name)
    assert all(torch.equal(same[name], value) for name, value in early.items())
    assert any(not torch.equal(late[name], value) for name, value in early.items())


def test_full_tuning_saves_a_model(tmp_path, base):
    settings = config(tmp_path, base, tuning="full", epochs=10.0, learning_rate=5e-3)
    result = fine_tune(settings)
    rows = read_training_rows(settings.data, settings).rows
    assert mean_loss(result.folder, rows, settings) < 0.7 * mean_loss(base, rows, settings)
    assert (result.folder / "model.safetensors").is_file()


def test_plan_sees_every_row_once_an_epoch():
    steps = plan_epochs([3, 9, 4, 4, 8, 2, 7], batch_size=3, epochs=2.0, seed=1)
    assert len(steps) == 6
    for epoch in (steps[:3], steps[3:]):
        assert sorted(index for step in epoch for index in step) == list(range(7))
    assert (
        plan_epochs([1] * 7, batch_size=3, epochs=0.34, seed=1)
        == plan_epochs([1] * 7, batch_size=3, epochs=2.0, seed=1)[:1]
    )


def test_a_sliver_of_an_epoch_is_one_step_and_none_is_refused():
    assert len(plan_epochs([1] * 7, batch_size=3, epochs=0.01, seed=1)) == 1
    with pytest.raises(ConfigError, match=r"0\.0 epochs"):
        plan_epochs([1] * 7, batch_size=3, epochs=0.0, seed=1)


def test_a_single_step_teaches_something(tmp_path, base):
    result = fine_tune(config(tmp_path, base, epochs=1.0, batch_size=len(ROWS), warmup_ratio=0.03))
    assert result.steps == 1
    tensors = load_file(result.folder / "adapter_model.safetensors")
    assert all(value.any() for name, value in tensors.items() if "lora_B" in name)


def test_unknown_targets_are_refused(tmp_path, base):
    with pytest.raises(ConfigError, match="lora_targets"):
        fine_tune(config(tmp_path, base, lora_targets="no_such_module"))


def test_master_weights_keep_updates_that_bfloat16_would_lose():
    parameter = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = MasterAdamW([parameter], lr=1e-4)
    for _ in range(100):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
    assert parameter.grad is None
    assert optimizer.masters[0][0].item() == pytest.approx(0.99, abs=1e-4)
    assert parameter[0].item() == pytest.approx(0.99, abs=4e-3)
    copy = MasterAdamW([torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))], lr=1e-4)
    copy.load_state_dict(optimizer.state_dict())
    assert torch.equal(copy.masters[0], optimizer.masters[0])


def test_two_processes_train_as_one_with_the_doubled_batch(tmp_path, forks):
    """The last step of an epoch has a single row: one of the two processes then has nothing to do, and must take part all the same."""
    base = save_model(tmp_path / "base")
    rows = [{"id": f"r{i}", "instruction": f"add {i}", "response": "yes " * (1 + i % 5)} for i in range(9)]
    data = write_rows(tmp_path / "d.jsonl", rows)
    shared = {
        "model": str(base),
        "data": data,
        "epochs": 3.0,
        "learning_rate": 5e-3,
        "lora_r": 4,
        "lora_dropout": 0.0,
        "dtype": "float32",
    }
    alone = fine_tune(TrainConfig(output_dir=tmp_path / "alone", batch_size=4, snapshots=(0.5,), **shared))
    options = [word for key, value in shared.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    arguments = [
        "train",
        *options,
        "--output-dir",
        str(tmp_path / "two"),
        "--batch-size",
        "2",
        "--snapshots",
        "0.5",
        "--json",
    ]
    forks.start_ranks(2, shlex.join(arguments), folder=tmp_path)
    first, second = forks.ends()
    assert first.code == second.code == 0, first.errors
    assert json.loads(first.printed)["rows"] == 9
    assert second.printed == "", "one of the processes speaks"
    result = json.loads((tmp_path / "two/result.json").read_text())["result"]
    assert (result["steps"], result["tokens"]) == (alone.steps, alone.tokens)
    assert result["final_loss"] == pytest.approx(alone.final_loss, rel=1e-4)
    for folder in ("", "snapshots/50"):
        own, other = (load_file(tmp_path / name / folder / "adapter_model.safetensors") for name in ("two", "alone"))
        assert own.keys() == other.keys()
        for name, value in other.items():
            assert (own[name] - value).norm() <= 1e-3 * value.norm() + 1e-7, name
    assert not (tmp_path / "two/checkpoints").exists()


def test_forgetting_in_several_processes_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as a launcher says it
    data = write_rows(tmp_path / "d.jsonl")
    arguments = ["forget", "--method", "ga", "--model", str(save_model(tmp_path / "base")), "--forget", str(data)]
    assert main([*arguments, "--output-dir", str(tmp_path / "no")]) == 2
    assert "Unlearning runs in one process" in capsys.readouterr().err


def test_training_an_adapters_model_on_makes_it_part_of_the_base(tmp_path, base):
    first = fine_tune(config(tmp_path, base, epochs=4.0, lora_targets="q_proj,lm_head"))
    learned = load(ModelConfig(model=str(first.folder), dtype="float32")).model
    ids = torch.tensor([[5, 60, 9, 80]])
    expected = learned(input_ids=ids).logits
    for tuning in ("lora", "full"):
        settings = config(
            tmp_path,
            first.folder,
            output_dir=tmp_path / tuning,
            tuning=tuning,
            epochs=0.5,
            learning_rate=1e-12,
            warmup_ratio=0.0,
        )
        again = load(ModelConfig(model=str(fine_tune(settings).folder), dtype="float32"))
        assert torch.allclose(again.model(input_ids=ids).logits, expected, atol=1e-4)


def test_quantised_weights_are_not_tuned(tmp_path, base):
    loaded = load(ModelConfig(model=str(base), dtype="float32"))
    loaded.model.is_quantized = True
    with pytest.raises(ConfigError, match="can't be trained"):
        fine_tune(config(tmp_path, base, tuning="full"), loaded=loaded)
