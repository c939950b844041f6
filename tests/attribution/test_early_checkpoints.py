"""Tracing with only the final adapter: an early checkpoint is made of it, is another model to the store, and answers stay the final adapter's."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.folders import write_rows
from tests.ledger.ledgers import RECORDS, train_in
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import CachingConfig
from unweave.attribution.tracing import trace_queries
from unweave.cli.main import main
from unweave.data.rows import Row
from unweave.errors import ConfigError, ModelError, StoreError
from unweave.jobs import trace
from unweave.jobs.config import TraceConfig
from unweave.models.loading import load_model
from unweave.store.store import GradientStore
from unweave.train.early import AUTO, EarlyOptions, adapter_folder, chosen_mode, early_adapter, final_of

ROWS = 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = train_in(tmp_path_factory.mktemp("trained"))
    write_rows(folder / "few.jsonl", RECORDS[:ROWS])
    return folder


@pytest.fixture
def caching(trained, tmp_path):
    def options(**changes):
        own = {"model": str(trained / "adapter"), "data": trained / "few.jsonl", "store": tmp_path / "store"}
        return CachingConfig(**{**own, "dimension": 64, "dtype": "float32", **changes})

    return options


def weights(folder):
    return load_file(Path(folder) / "adapter_model.safetensors")


def test_scaling_scales_the_update_and_nothing_else(trained, caching, tmp_path):
    cache_rows(caching(checkpoint_mode="scaled", checkpoint_scale=0.25))
    made, final = weights(tmp_path / "store.checkpoint"), weights(trained / "adapter")
    assert made.keys() == final.keys()
    for name, tensor in final.items():
        factor = 0.25 if "lora_B" in name else 1.0
        assert torch.allclose(made[name], factor * tensor), name
    sides = [
        load_model(str(place), dtype="float32").model.merge_and_unload().state_dict()
        for place in (tmp_path / "store.checkpoint", trained / "adapter")
    ]
    base = load_model(str(trained / "base"), dtype="float32").model.state_dict()
    changed = [name for name in base if not torch.equal(base[name], sides[1][name])]
    assert changed
    for name in changed:
        update, whole = (side[name] - base[name] for side in sides)
        assert torch.allclose(update, 0.25 * whole, atol=1e-6)


def test_the_sketches_are_those_of_the_scaled_adapter(trained, caching, tmp_path):
    cache_rows(caching(checkpoint_mode="scaled"))
    own = trained / "adapter"
    by_hand = tmp_path / "by-hand"
    by_hand.mkdir()
    for path in own.glob("*.j*"):
        (by_hand / path.name).write_bytes(path.read_bytes())
    save_file(
        {name: tensor * 0.1 if "lora_B" in name else tensor for name, tensor in weights(own).items()},
        by_hand / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    cache_rows(caching(model=str(by_hand), store=tmp_path / "truth"))
    cache_rows(caching(store=tmp_path / "final"))
    made, truth, final = (GradientStore.open(tmp_path / name) for name in ("store", "truth", "final"))
    ids = made.row_ids()
    assert torch.allclose(made.read(ids), truth.read(ids), atol=1e-3)
    assert not torch.allclose(made.read(ids), final.read(ids), atol=1e-2)
    assert made.spec.model_fingerprint == truth.spec.model_fingerprint != final.spec.model_fingerprint


def test_the_store_is_of_its_checkpoint_alone(caching):
    first = cache_rows(caching(checkpoint_mode="scaled"))
    assert first.computed == ROWS
    assert cache_rows(caching(checkpoint_mode="scaled")).computed == 0, "a rerun goes on"
    with pytest.raises(StoreError, match="model_fingerprint"):
        cache_rows(caching())
    for other in ({"checkpoint_mode": "scaled", "checkpoint_scale": 0.2}, {"checkpoint_mode": "retrained"}):
        with pytest.raises(ConfigError, match="early checkpoint already"):
            cache_rows(caching(**other))


def test_retraining_begins_at_the_base_is_the_same_again_and_leaves_no_text(trained, caching, tmp_path):
    for name in ("store", "again"):
        cache_rows(caching(checkpoint_mode="retrained", checkpoint_rows=8, store=tmp_path / name))
    one, two, final = (
        weights(place) for place in (tmp_path / "store.checkpoint", tmp_path / "again.checkpoint", trained / "adapter")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    moved, whole = (
        sum(float(value.norm()) for name, value in side.items() if "lora_B" in name) for side in (one, final)
    )
    assert 0 < moved < whole, "it has learned less than the final one"
    for path in (tmp_path / "store.checkpoint").rglob("*"):
        assert b"add 1 and" not in path.read_bytes(), f"{path} holds the text of a row"


def test_auto_is_one_of_the_two(caching, tmp_path):
    cache_rows(caching(checkpoint_mode="auto"))
    record = json.loads((tmp_path / "store.checkpoint" / "checkpoint.json").read_text())
    assert record["identity"]["options"]["mode"] == AUTO == chosen_mode("auto")
    assert chosen_mode("final") == "final"


def test_answers_are_the_final_adapters_and_gradients_the_early_ones(trained, caching, tmp_path, capsys, monkeypatch):
    cache_rows(caching(checkpoint_mode="scaled", checkpoint_scale=0.05))
    asked, made = [], str(tmp_path / "store.checkpoint")

    def query_row(loaded, prompt, *, completion=None, **_):
        asked.append(str(loaded.adapter))
        return Row("q", prompt, completion or "0 yes")

    def traced(_, loaded, *rest, **options):
        assert str(loaded.adapter) == made
        return trace_queries(_, loaded, *rest, **options)

    monkeypatch.setattr(trace, "query_row", query_row)
    monkeypatch.setattr(trace, "trace_queries", traced)
    found = trace.trace_answers(TraceConfig(store=tmp_path / "store", prompt="add 1 and 0"))
    assert found.rankings[0].helpful
    assert "answers are those of the final adapter" in capsys.readouterr().err
    trace.trace_answers(TraceConfig(store=tmp_path / "store", prompt="add 1 and 0", completion="1 yes"))
    assert asked == [str(trained / "adapter"), made], "an answer that is given is generated by nobody"
    assert final_of(made) == trained / "adapter"
    assert final_of(trained / "adapter") is None


def test_the_command_line(trained, tmp_path, capsys):
    line = [
        "cache",
        "--model",
        str(trained / "adapter"),
        "--data",
        str(trained / "train.jsonl"),
        "--store",
        str(tmp_path / "s"),
        "--dimension",
        "64",
        "--dtype",
        "float32",
    ]
    assert main([*line, "--checkpoint-mode", "auto", "--quiet"]) == 0
    assert (tmp_path / "s.checkpoint").is_dir()
    assert main([*line[:2], str(trained / "base"), *line[3:], "--checkpoint-mode", "auto"]) == 2
    assert "made from an adapter in a folder" in capsys.readouterr().err


def test_what_can_not_be_scaled_is_refused(trained, tmp_path):
    final = tmp_path / "odd"
    final.mkdir()
    for path in (trained / "adapter").glob("adapter*"):
        (final / path.name).write_bytes(path.read_bytes())
    save_file(
        {**weights(final), "base_model.model.lm_head.lora_magnitude_vector": torch.ones(2)},
        final / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match="not LoRA alone"):
        early_adapter(tmp_path / "made", final, EarlyOptions("scaled"))
    assert not (tmp_path / "made").exists(), "nothing half made is left"
    with pytest.raises(ConfigError):
        adapter_folder(str(trained / "base"), None)


def test_several_processes_do_not_train_one_each(caching, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="Several processes"):
        cache_rows(caching(checkpoint_mode="retrained"))


def test_without_a_record_of_the_training_the_adapters_own_shape_is_trained(tmp_path, trained, monkeypatch):
    seen = {}

    def fine_tune(config):
        seen["config"] = config
        config.output_dir.mkdir()
        for path in (trained / "adapter").glob("adapter*"):
            (config.output_dir / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr("unweave.train.sft.fine_tune", fine_tune)
    final = tmp_path / "bare"
    final.mkdir()
    for path in (trained / "adapter").glob("adapter*"):
        (final / path.name).write_bytes(path.read_bytes())
    rows = [Row(f"r{i}", "q", "a") for i in range(9)]
    early_adapter(tmp_path / "made", final, EarlyOptions("retrained", sample=4), rows=lambda: rows)
    assert seen["config"].lora_r == 4
    assert seen["config"].epochs == 1
    assert seen["config"].model == str(trained / "base")
