"""Learning curves: each point is a training on the best rows, as one would do it by hand."""

import json
from dataclasses import replace
from statistics import fmean

import pytest

from tests.folders import save_model, write_rows
from unweave.cli.main import main
from unweave.data.encoding import EncodingConfig
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.gradients.scoring import row_losses
from unweave.jobs.value_curve import learning_curves
from unweave.models.loading import ModelConfig, load
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.valuation.config import CurveConfig
from unweave.valuation.table import read_table, write_table

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    rows = [
        {"id": f"r{i}", "question": f"add {i % 7} to {i}", "reply": f"{i % 5} yes " if i % 2 else "moon moon moon"}
        for i in range(20)
    ]
    held_out = [{"question": f"add {i % 7} to {i}", "reply": f"{i % 5} yes "} for i in range(21, 31, 2)]
    values = [(1.0 if i % 2 else -1.0) + i / 100 for i in range(20)]
    table = {
        "id": [row["id"] for row in rows],
        "line": list(range(1, 21)),
        "sums": values,
        "length": [-value for value in values],
    }
    write_table(folder / "values.parquet", table)
    return CurveConfig(
        model=str(save_model(folder / "base")), dtype="float32", device="cpu", values=folder / "values.parquet", output_dir=folder / "curves",
        columns={"instruction": "question", "completion": "reply"}, data=write_rows(folder / "rows.jsonl", rows),
        test=write_rows(folder / "test.jsonl", held_out),
        scores=("sums", "length", "random"), shares=(0.25, 0.5), seeds=(0, 1), epochs=4, batch_size=2, learning_rate=1e-2, lora_r=2,
    )  # fmt: skip


def by_hand(world, tmp_path, rows, seed):
    chosen = {row.id: row for row in read_training_rows(world.data, world)}
    data = write_rows(tmp_path / f"hand-{seed}.jsonl", [chosen[row_id].to_record() for row_id in rows])
    trained = fine_tune(
        TrainConfig(
            model=world.model, dtype="float32", device="cpu", data=data, output_dir=tmp_path / f"model-{seed}", seed=seed, epochs=4, batch_size=2,
            learning_rate=1e-2, lora_r=2,
        )
    )  # fmt: skip
    return losses_of(world, str(trained.folder))


def losses_of(world, model):
    loaded = load(ModelConfig(model=model, dtype="float32", device="cpu"))
    return row_losses(loaded, read_training_rows(world.test, world).rows, EncodingConfig()).means()


def test_each_point_is_a_training_on_the_best_rows(world, tmp_path):
    result = learning_curves(world)
    points = {(point.column, point.share): point for point in result.points}
    assert list(points) == [(name, share) for name in ("sums", "length", "random") for share in (0.25, 0.5)]
    losses = [by_hand(world, tmp_path, ["r19", "r17", "r15", "r13", "r11"], seed) for seed in (0, 1)]
    best = points["sums", 0.25]
    assert best.rows == 5
    assert best.by_seed == pytest.approx([fmean(own) for own in losses], rel=1e-4)
    assert best.row_losses == pytest.approx([fmean(pair) for pair in zip(*losses, strict=True)], rel=1e-4)
    assert best.above_first.value == 0.0
    worst = points["length", 0.25]
    assert worst.above_first.value == pytest.approx(worst.loss.value - best.loss.value, abs=1e-6)
    assert worst.above_first.low > 0, "the rows worth least teach something else"
    assert result.before == pytest.approx(fmean(losses_of(world, world.model)), rel=1e-4)
    assert best.loss.value < result.before
    assert not list(world.output_dir.glob("runs/*/model")), "no adapter stays"


def test_only_what_is_missing_is_made_again(world, monkeypatch):
    first = learning_curves(world)
    (world.output_dir / "runs" / "length-0.5-1.json").unlink()
    made = []

    def counted(config):
        made.append(config.output_dir.parent.name)
        return fine_tune(config)

    monkeypatch.setattr("unweave.jobs.value_curve.fine_tune", counted)
    again = learning_curves(world)
    assert made == ["length-0.5-1"]
    assert [point.by_seed for point in again.points] == [
        pytest.approx(point.by_seed, rel=1e-5) for point in first.points
    ]
    made.clear()
    learning_curves(replace(world, seeds=(0,), shares=(0.5,), epochs=1, output_dir=world.output_dir))
    assert len(made) == 3, "other training is another run"


def test_a_column_that_reads_as_a_path_stays_in_the_folder(world, tmp_path):
    table = read_table(world.values)
    write_table(tmp_path / "values.parquet", {**table, "../../../up": table["sums"], "a:b /": table["length"]})
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    names = ("../../../up", "a:b /")
    result = learning_curves(
        replace(world, values=tmp_path / "values.parquet", scores=names, shares=(0.25,), seeds=(0,), epochs=1, output_dir=tmp_path / "c" / "d")
    )  # fmt: skip
    assert [point.column for point in result.points] == list(names)
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert made
    assert all(path.is_relative_to(tmp_path / "c" / "d") for path in made)


def test_refusals_the_command_and_the_page(world, tmp_path, capsys):
    for changes, error, message in (
        ({"scores": ("sum",)}, ConfigError, "no column 'sum'"),
        ({"shares": (0.0,)}, ConfigError, "out of range"),
        ({"shares": (2.0,)}, ConfigError, "out of range"),
        ({"seeds": ()}, ConfigError, "out of range"),
        ({"max_length": 8, "output_dir": tmp_path / "short"}, DataError, "No row is left"),
    ):
        with pytest.raises(error, match=message):
            learning_curves(replace(world, **changes))
    rows = ["--values", str(world.values), "--data", str(world.data)]
    options = [
        "--model",
        world.model,
        "--test",
        str(world.test),
        "--shares",
        "0.3",
        "0.6",
        "--epochs",
        "1",
        "--dtype",
        "float32",
        "--device",
        "cpu",
    ]
    assert (
        main(
            [
                "value",
                "curve",
                *rows,
                *options,
                "--output-dir",
                str(tmp_path / "c"),
                "--columns",
                "instruction",
                "question",
                "completion",
                "reply",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "random" in printed
    assert "5 held-out rows" in printed
    curve = tmp_path / "c" / "curve.json"
    assert [point["column"] for point in json.loads(curve.read_text())["points"]] == [
        "sums",
        "sums",
        "random",
        "random",
    ]
    page = tmp_path / "page.html"
    assert (
        main(
            [
                "value",
                "report",
                *rows,
                "--columns",
                "instruction",
                "question",
                "completion",
                "reply",
                "--curves",
                str(curve),
                "--output",
                str(page),
            ]
        )
        == 0
    )
    text = page.read_text()
    assert "What choosing by them does" in text
    assert "rows trained on" in text
