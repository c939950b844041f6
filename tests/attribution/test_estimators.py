"""Attribution through training by name: from a recorded run and from another trainer's checkpoints, through the library and the command line."""

import json

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

from tests.folders import ROWS, save_model, write_rows
from tests.notebook import in_memory, write_files
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.registry import ESTIMATORS
from unweave.attribution.tracing import trace_rows
from unweave.attribution.trained import AUTO, Estimator, of_checkpoints, of_record
from unweave.attribution.trajectory import self_influence
from unweave.attribution.unrolled import estimate
from unweave.cli.main import main
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.store.store import GradientStore
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.train.snapshots import SnapshotCallback


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("through")
    options = {
        "model": str(save_model(folder / "base")),
        "data": write_rows(folder / "d.jsonl"),
        "output_dir": folder / "out",
        "dtype": "float32",
    }
    fine_tune(
        TrainConfig(
            **options,
            epochs=3.0,
            batch_size=4,
            learning_rate=1e-2,
            lora_r=2,
            lora_dropout=0.0,
            record=True,
            record_states=2,
        )
    )
    cache_rows(
        CacheConfig(
            model=str(folder / "out"), data=options["data"], store=folder / "store", dimension=256, dtype="float32"
        )
    )
    return folder


def test_estimators_agree_and_auto_takes_one_of_them(world, capsys):
    store, loaded = GradientStore.open(world / "store"), load(ModelConfig(model=str(world / "out"), dtype="float32"))
    query = Row("q", "what is the capital of Japan ?", "Tokyo")
    scores = {
        name: trace_rows(store, loaded, [query], RetrievalConfig(estimator=name)).scores[0].numpy()
        for name in ("unrolled", "trajectory", "auto")
    }
    assert f"estimator: {AUTO}" in capsys.readouterr().err
    assert AUTO == "segments"
    place = store.row_ids().index(max(store.row_ids(), key=lambda own: "Tokyo" in store.texts()[own]["completion"]))
    for name, own in scores.items():
        assert own.argmax() == place, name
        assert np.corrcoef(own, scores["unrolled"])[0, 1] > 0.6, name


def test_self_influence_is_not_negative_and_of_each_row(world):
    trained = of_record(world / "out")
    found = self_influence(trained.run, trained.snapshots, trained.factors)
    assert found.shape == (len(ROWS),)
    assert (found > 0).all()


def test_an_estimator_of_ones_own_and_the_command_line(world, capsys, monkeypatch):
    def newest(trained, targets):
        return torch.arange(len(trained.run.examples), dtype=torch.float64).expand(len(targets), -1)

    assert isinstance(newest, Estimator)
    monkeypatch.setitem(ESTIMATORS, "newest", newest)
    ask = [
        "trace",
        "--store",
        str(world / "store"),
        "--prompt",
        "hello",
        "--completion",
        "world",
        "--top-k",
        "1",
        "--json",
    ]
    assert main([*ask, "--estimator", "newest", "--training", str(world / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "moon" in json.dumps(found)
    assert main([*ask, "--estimator", "newest", "--rerank", "3"]) != 0
    assert "--estimator" in capsys.readouterr().err


def test_checkpoints_of_another_trainer(tmp_path):
    write_files(tmp_path)
    own = in_memory(tmp_path)
    arguments = TrainingArguments(
        str(tmp_path / "trained"),
        max_steps=4,
        save_steps=2,
        learning_rate=1e-2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=own["hf_model"], processing_class=own["tokenizer"], args=arguments, train_dataset=own["tokenized"],
        callbacks=[SnapshotCallback(at=(0.75,), optimizer=True)],
    )  # fmt: skip
    trainer.train()
    loaded = Loaded(own["hf_model"], own["tokenizer"], "base", str(tmp_path))
    examples = encode_rows(own["rows"], own["tokenizer"], EncodingConfig()).examples
    trained = of_checkpoints(tmp_path / "trained", loaded, examples)
    assert [state.step for state in trained.snapshots] == [2, 3, 4]
    names = {name for name, parameter in own["hf_model"].named_parameters() if parameter.requires_grad}
    assert set(trained.snapshots[0].parameters) == set(trained.snapshots[1].parameters) == names
    for name, parameter in own["hf_model"].named_parameters():
        if name in names:
            assert torch.equal(trained.snapshots[-1].parameters[name], parameter)
    assert trained.factors.shape == (3, len(examples))
    with pytest.raises(ConfigError, match="left no record"):
        estimate(trained, [])
    with pytest.raises(ConfigError, match="neither a record nor checkpoints"):
        of_checkpoints(tmp_path, loaded, examples)
