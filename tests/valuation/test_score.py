"""LinFiK against brute force and against a real step of training, from a store and on the fly; baselines; resumption."""

import csv
import json
import math
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch

from tests.folders import save_model, write_rows
from tests.reference import loop_gradients
from unweave.attribution.caching import cache_rows
from unweave.cli.main import main
from unweave.data.encoding import encode_rows
from unweave.data.training_rows import read_training_rows
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, DataError, StoreError
from unweave.gradients.scoring import row_losses
from unweave.jobs import value_score as stage
from unweave.jobs.value_score import score_rows
from unweave.models.loading import ModelConfig, load
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.valuation.config import ScoreConfig
from unweave.valuation.values import less_sample

TASKS = {
    "sums": [{"instruction": f"add {i}", "response": f"{i} yes"} for i in range(4)],
    "moon": [{"instruction": "say moon", "response": "moon moon"}],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("value")
    base = save_model(folder / "base")
    rows = [
        {
            "id": f"r{i}",
            "instruction": f"add {i % 7} to {i}",
            "response": ("moon " if i % 3 == 0 else f"{i % 5} yes ") * (1 + i % 3),
        }
        for i in range(17)
    ]
    data = write_rows(folder / "rows.jsonl", rows)
    for name, own in TASKS.items():
        write_rows(folder / f"{name}.jsonl", own)
    fine_tune(
        TrainConfig(
            model=str(base),
            data=data,
            output_dir=folder / "adapter",
            epochs=2,
            lora_r=2,
            learning_rate=1e-2,
            dtype="float32",
        )
    )
    return folder


def config_of(world, **changes):
    values = {
        "model": str(world / "adapter"), "dtype": "float32", "data": world / "rows.jsonl", "output": world / "values.parquet", "block_rows": 5,
        "tasks": tuple(f"{name}={world / name}.jsonl" for name in TASKS),
    }  # fmt: skip
    return ScoreConfig(**{**values, **changes})


def gradients(world, config, path):
    loaded = load(ModelConfig(model=config.model, dtype="float64"))
    rows = read_training_rows(path, config).rows
    examples = encode_rows(rows, loaded.tokenizer, config).examples
    names = [name for name, _ in loaded.model.named_parameters() if "lora_" in name]
    for name, parameter in loaded.model.named_parameters():
        parameter.requires_grad_(name in names)
    with torch.enable_grad():
        found, _ = loop_gradients(loaded.model, examples, names)
    return loaded, names, torch.cat([found[name].flatten(1) for name in names], dim=1)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 511, 512, 3000])
def test_less_takes_at_most_256_candidates_from_all_over(count):
    taken = less_sample(list(range(count)))
    assert len(taken) == len(set(taken)) == min(count, 256)
    assert taken[0] == 0
    assert taken[-1] >= count - count / 256 - 1


def test_values_are_those_of_brute_force_for_all_tasks_at_once(world):
    config = config_of(world, learning_rate=0.5, baselines=("gradnorm", "less"))
    result = score_rows(config)
    loaded, _, rows = gradients(world, config, config.data)
    tokens = torch.tensor(row_losses(loaded, read_training_rows(config.data, config).rows, config).tokens)
    assert len(set(tokens.tolist())) > 1
    moments = rows.square().mean(dim=0)
    scaled = rows / (moments.sqrt() + 1e-8)
    alike = score_rows(config_of(world, learning_rate=0.5, reduction="mean", output=config.output.with_name("m.jsonl")))
    summed = rows * tokens[:, None]
    for name in TASKS:
        _, _, task = gradients(world, config, world / f"{name}.jsonl")
        mean = task.mean(dim=0)
        assert result.columns[name] == pytest.approx((0.5 * summed @ mean).tolist(), rel=1e-3, abs=1e-6)
        assert alike.columns[name] == pytest.approx((0.5 * rows @ mean).tolist(), rel=1e-3, abs=1e-6)
        cosines = scaled @ mean / scaled.norm(dim=1) / mean.norm()
        assert result.columns[f"less.{name}"] == pytest.approx(cosines.tolist(), abs=2e-3)
    assert result.columns["gradnorm"] == pytest.approx(summed.norm(dim=1).tolist(), rel=1e-3)
    table = pq.read_table(config.output).to_pydict()
    assert table["id"] == [f"r{i}" for i in range(17)]
    assert table["moon"] == pytest.approx(result.columns["moon"])
    assert table["line"][3] == 4


def test_a_value_is_what_a_step_on_the_row_does_to_the_task(world):
    config = config_of(world, reduction="mean")
    values = score_rows(config).columns["sums"]
    loaded, names, rows = gradients(world, config, config.data)
    task = read_training_rows(world / "sums.jsonl", config).rows
    start = {name: loaded.model.get_parameter(name).detach().clone() for name in names}

    def loss():
        return sum(row_losses(loaded, task, config).means()) / len(task)

    before, rate = loss(), 1e-5
    for index in (0, 1, 5):
        offset = 0
        with torch.no_grad():
            for name in names:
                size = start[name].numel()
                step = rate * rows[index, offset : offset + size].view_as(start[name])
                loaded.model.get_parameter(name).copy_(start[name] - step)
                offset += size
        assert before - loss() == pytest.approx(rate * values[index], rel=0.01, abs=1e-8)


def test_a_store_without_sketch_gives_the_same_values(world, tmp_path):
    config = config_of(world, reduction="mean")
    exact = score_rows(config).columns
    options = {"sketch": "none", "normalize": "none", "number_format": "float32", "dtype": "float32"}
    cache_rows(CacheConfig(model=config.model, data=config.data, store=tmp_path / "store", **options))
    stored = score_rows(replace(config, store=tmp_path / "store", output=tmp_path / "v.jsonl")).columns
    for name in TASKS:
        assert stored[name] == pytest.approx(exact[name], rel=1e-3, abs=1e-6)
    more = write_rows(tmp_path / "more.jsonl", [{"instruction": "new", "response": "yes"}])
    with pytest.raises(StoreError, match="not in the store"):
        score_rows(replace(config, data=more, store=tmp_path / "store", output=tmp_path / "w.jsonl"))
    with pytest.raises(ConfigError, match="whole gradients"):
        score_rows(replace(config, store=tmp_path / "store", baselines=("less",)))


def test_a_killed_run_goes_on(world, tmp_path, monkeypatch):
    config = config_of(world, output=tmp_path / "v.csv")
    from unweave.valuation import linfik

    original, seen = linfik.TaskGradients.values, []

    def values(self, examples, **options):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(examples))
        return original(self, examples, **options)

    monkeypatch.setattr(linfik.TaskGradients, "values", values)
    with pytest.raises(KeyboardInterrupt):
        score_rows(config)
    assert not config.output.exists()
    seen.clear()
    monkeypatch.setattr(
        linfik.TaskGradients,
        "values",
        lambda self, examples, **options: seen.append(len(examples)) or original(self, examples, **options),
    )
    result = score_rows(config)
    assert seen == [5, 2], "ten of seventeen rows were kept"
    assert result.columns["moon"] == pytest.approx(score_rows(config_of(world)).columns["moon"])
    with config.output.open() as table:
        assert len(list(csv.DictReader(table))) == 17
    assert [path.name for path in tmp_path.iterdir()] == ["v.csv"], "nothing is left beside the table"


def test_baselines(world, tmp_path):
    names = ("random", "length", "perplexity", "ifd", "bm25", "embedding", "tracin")
    config = config_of(world, baselines=names, output=tmp_path / "v.jsonl", tracin_model=str(world / "adapter"))
    result = score_rows(config)
    assert set(result.columns) == {
        *TASKS, "random", "length", "perplexity", "ifd", *(f"{name}.{task}" for name in ("bm25", "embedding", "tracin") for task in TASKS),
    }  # fmt: skip
    assert result.columns["tracin.moon"] == pytest.approx(result.columns["moon"]), (
        "at the same checkpoint it is the value"
    )
    moons = [i % 3 == 0 for i in range(17)]
    for name in ("bm25.moon", "embedding.moon"):
        ranked = sorted(range(17), key=lambda index: -result.columns[name][index])
        assert all(moons[index] for index in ranked[:3]), name
    loaded = load(ModelConfig(model=config.model, dtype="float32"))
    rows = read_training_rows(config.data, config).rows
    losses = row_losses(loaded, rows, config).means()
    assert result.columns["perplexity"] == pytest.approx([-math.exp(loss) for loss in losses], rel=1e-4)
    ratio = losses[1] / row_losses(loaded, [replace(rows[1], instruction="")], config).means()[0]
    assert abs(result.columns["ifd"][1]) == pytest.approx(ratio, rel=1e-4)
    assert (result.columns["ifd"][1] < 0) == (ratio > 1)
    lines = [json.loads(line) for line in config.output.read_text().splitlines()]
    assert lines[0]["id"] == "r0"
    assert lines[0]["length"] == len(rows[0].completion)


def test_refusals_and_the_command(world, tmp_path, capsys):
    for changes, message in (
        ({"tasks": ()}, "need a task"),
        ({"tasks": (f"a={world}/sums.jsonl", f"a={world}/moon.jsonl")}, "Two tasks are named 'a'"),
        ({"baselines": ("tracin",)}, "another checkpoint"),
        ({"output": tmp_path / "v.xlsx"}, "no kind of table"),
    ):
        with pytest.raises(ConfigError, match=message):
            score_rows(config_of(world, **changes))
    with pytest.raises(DataError, match="not found"):
        score_rows(config_of(world, tasks=("nowhere.jsonl",)))
    options = [
        "--model",
        str(world / "adapter"),
        "--dtype",
        "float32",
        "--data",
        str(world / "rows.jsonl"),
        "--tasks",
        str(world / "moon.jsonl"),
    ]
    assert main(["value", "score", *options, "--output", str(tmp_path / "v.parquet"), "--quiet"]) == 0
    assert "moon" in capsys.readouterr().out
    assert main(["value", "score", *options, "--output", str(tmp_path / "w.csv"), "--baselines", "tracin"]) == 2
    assert "where: --tracin-model" in capsys.readouterr().err, "the command line names its options"
    assert main(["value", "scores"]) == 2


def test_an_interrupted_table_of_another_task_is_not_continued(world, tmp_path, monkeypatch):
    task = write_rows(tmp_path / "task.jsonl", TASKS["sums"])
    config = config_of(world, tasks=(f"t={task}",), output=tmp_path / "v.jsonl", block_rows=5)
    original, calls = stage.remembered, []

    def dies(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(stage, "remembered", dies)
        score_rows(config)
    assert len(list(tmp_path.glob(".v.jsonl.blocks/*"))) == 2
    write_rows(task, TASKS["moon"])
    resumed, fresh = score_rows(config), score_rows(replace(config, output=tmp_path / "fresh.jsonl"))
    assert resumed.columns["t"] == fresh.columns["t"]
    assert not list(tmp_path.glob(".v.jsonl.*"))
