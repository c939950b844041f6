"""The student: losses against their formulas, calibration by simulation, a fit that learns what the text tells, predictions of a stream."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertModel

from tests.folders import write_rows
from tests.hub import Hub
from tests.tiny import TinyTokenizer
from unweave.cli.main import main
from unweave.errors import ConfigError, DataError, ModelError
from unweave.jobs import value_predict as predicting
from unweave.jobs.value_fit import fit_student
from unweave.jobs.value_predict import bucket_bounds, predict_values
from unweave.stats.intervals import rank_correlation
from unweave.stats.ranking import top_overlap
from unweave.valuation import fitting
from unweave.valuation.config import FitConfig, PredictConfig
from unweave.valuation.fitting import conformal_width, normal_scores
from unweave.valuation.losses import listwise, pairwise, regression
from unweave.valuation.student import ValueStudent
from unweave.valuation.table import read_table, task_columns, write_table
from unweave.valuation.training import Training, schedule

SEAS = "blue green moon teapots sing on red under".split()
FIELDS = "a b c d e f g hello".split()


def rows_of(count, seed=0):
    """Rows whose value is the number of words of the sea among six; the ground truth that a reader of the text can know."""
    rng = random.Random(seed)
    rows, values = [], []
    for index in range(count):
        sea = rng.randint(0, 6)
        words = [*rng.choices(SEAS, k=sea), *rng.choices(FIELDS, k=6 - sea)]
        rng.shuffle(words)
        rows.append({"id": f"r{index}", "instruction": "go on", "response": " ".join(words)})
        values.append(sea + rng.gauss(0, 0.1))
    return rows, values


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    rows, values = rows_of(120)
    data = write_rows(folder / "rows.jsonl", rows)
    write_table(
        folder / "values.parquet",
        {
            "id": [row["id"] for row in rows],
            "line": list(range(120)),
            "sea": values,
            "bm25.sea": values,
            "loss": values,
        },
    )
    torch.manual_seed(0)
    shape = BertConfig(vocab_size=96, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(shape).save_pretrained(folder / "encoder")
    TinyTokenizer.make().save_pretrained(folder / "encoder")
    config = FitConfig(
        values=folder / "values.parquet", data=data, output_dir=folder / "out", student=str(folder / "encoder"), epochs=12, patience=12,
        learning_rate=3e-3, student_length=32, batch_size=16, device="cpu",
    )  # fmt: skip
    return config, fit_student(config)


def test_losses_are_their_formulas():
    scores, targets = torch.tensor([[0.5], [2.0], [-1.0]]), torch.tensor([[1.0], [0.0], [-2.0]])
    errors = [0.5, 2.0, 1.0]
    huber = [error**2 / 2 if error <= 1 else error - 0.5 for error in errors]
    assert regression(scores, targets).item() == pytest.approx(sum(huber) / 3)
    pairs = {(0, 1): 1.0, (0, 2): 3.0, (1, 2): 2.0}
    flat = [0.5, 2.0, -1.0]
    expected = sum(weight * math.log1p(math.exp(-(flat[i] - flat[j]))) for (i, j), weight in pairs.items()) / 6
    assert pairwise(scores, targets).item() == pytest.approx(expected)
    assert pairwise(scores, torch.zeros(3, 1)).item() == 0.0
    wanted = np.exp([1.0, 0.0, -2.0]) / np.exp([1.0, 0.0, -2.0]).sum()
    given = np.log(np.exp(flat) / np.exp(flat).sum())
    assert listwise(scores, targets).item() == pytest.approx(-(wanted * given).sum())


def test_conformal_widths_cover_what_they_say():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(400):
        errors = np.abs(rng.standard_t(3, 60))
        hits.append((np.abs(rng.standard_t(3, 20)) <= conformal_width(errors, 0.8)).mean())
    assert np.mean(hits) == pytest.approx(0.81, abs=0.02)
    assert conformal_width(np.array([1.0, 2.0]), 0.9) == 2.0, "too few rows for that: the largest error"
    assert top_overlap(np.arange(20.0), np.arange(20.0)) == 1.0
    assert top_overlap(np.arange(20.0), -np.arange(20.0)) == 0.0
    assert normal_scores(np.array([[3.0], [1e9], [-5.0]]))[:, 0] == pytest.approx([0.0, 0.9674, -0.9674], abs=1e-4)


def test_a_student_learns_what_the_text_tells(fitted):
    config, result = fitted
    own = result.metrics["sea"]
    assert own["spearman"] > 0.8
    assert set(own["coverage"]) == {"0.8", "0.9"}
    assert result.rows == 84
    student = ValueStudent.from_pretrained(result.folder, device="cpu")
    texts = ["go on\n" + " ".join(SEAS[:6]), "go on\n" + " ".join(FIELDS[:6])]
    high, low = student.values_of(texts)["sea"]
    assert high > 4 > 2 > low, "predictions are in the unit of the values"
    assert student.values_of(texts[::-1], batch_size=1)["sea"] == pytest.approx([low, high], abs=1e-4)
    assert fit_student(config) == result, "a complete run is not repeated"
    assert "spearman" in (result.folder / "README.md").read_text()
    assert task_columns(read_table(config.values)) == ["sea"], "a baseline is no task"


@pytest.mark.parametrize("loss", ["pairwise", "listwise"])
def test_ranking_losses_learn_too(fitted, tmp_path, loss):
    config, _ = fitted
    found = fit_student(replace(config, loss=loss, output_dir=tmp_path / "out"))
    assert found.metrics["sea"]["spearman"] > 0.7


def test_the_best_epoch_is_kept(fitted, tmp_path, monkeypatch):
    config, _ = fitted
    found = iter([0.2, 0.7, 0.1, 0.3])
    heads = []
    monkeypatch.setattr(fitting, "_correlation", lambda *_: next(found))
    original = Training.note
    monkeypatch.setattr(
        Training,
        "note",
        lambda self, value: heads.append(self.student.head.weight.detach().clone()) or original(self, value),
    )
    result = fit_student(replace(config, output_dir=tmp_path / "out", epochs=6, patience=2))
    assert (result.epochs, result.kept_epoch) == (4, 2)
    kept = ValueStudent.from_pretrained(result.folder, device="cpu").head.weight
    assert torch.equal(kept, heads[1])
    assert not torch.equal(kept, heads[3])


def test_a_killed_fit_goes_on_as_if_nothing_had_been(fitted, tmp_path, monkeypatch):
    config, whole = fitted
    config = replace(config, output_dir=tmp_path / "out")
    made = []
    original = Training.epoch

    def epoch(self, advance):
        if self.standing.epoch == 2 and len(made) == 2:
            raise KeyboardInterrupt
        made.append(self.standing.epoch + 1)
        original(self, advance)

    monkeypatch.setattr(Training, "epoch", epoch)
    with pytest.raises(KeyboardInterrupt):
        fit_student(config)
    made.clear()
    monkeypatch.setattr(
        Training, "epoch", lambda self, advance: made.append(self.standing.epoch + 1) or original(self, advance)
    )
    result = fit_student(config)
    assert made == list(range(3, 13))
    assert result.metrics["sea"]["spearman"] == pytest.approx(whole.metrics["sea"]["spearman"], abs=0.02)
    own, other = (
        ValueStudent.from_pretrained(folder, device="cpu").state_dict() for folder in (result.folder, whole.folder)
    )
    assert all(torch.allclose(own[name], other[name], atol=1e-4) for name in other), "up to rounding"
    assert not (result.folder / ".fit").exists()
    (result.folder / "notes.txt").write_text("mine")
    ValueStudent.from_pretrained(result.folder, device="cpu").save_pretrained(result.folder)
    assert (result.folder / "notes.txt").read_text() == "mine", "a user's folder is never cleared"


def test_the_schedule_rises_and_falls():
    factors = [schedule(step, 50) for step in range(50)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert factors[-1] < 0.01


def predict_config(fitted, folder, **changes):
    rows, _ = rows_of(50, seed=9)
    path = write_rows(folder / "more.jsonl", rows)
    lines = path.read_text().splitlines()
    lines[3], lines[20] = "{broken", json.dumps({"id": "x", "instruction": "go on", "response": ""})
    path.write_text("\n".join(lines) + "\n")
    return PredictConfig(
        **{
            "student": fitted[1].folder,
            "data": path,
            "output_dir": folder / "out",
            "part_rows": 16,
            "device": "cpu",
            **changes,
        }
    )


def test_a_stream_is_predicted_part_by_part_and_bad_rows_are_reported(fitted, tmp_path):
    config = predict_config(fitted, tmp_path)
    result = predict_values(config)
    assert (result.rows, result.problems) == (48, 2)
    table = pq.read_table(config.output_dir / "values.parquet").to_pydict()
    rows, values = rows_of(50, seed=9)
    assert table["id"] == [row["id"] for index, row in enumerate(rows) if index not in (3, 20)]
    truth = [value for index, value in enumerate(values) if index not in (3, 20)]
    assert np.corrcoef(table["sea"], truth)[0, 1] > 0.8
    widths = np.array(table["sea.high"]) - np.array(table["sea.low"])
    assert np.ptp(widths) < 1e-9
    assert widths[0] > 0
    problems = [json.loads(line) for line in (config.output_dir / "problems.jsonl").read_text().splitlines()]
    assert [one["place"].rpartition(":")[2] for one in problems] == ["4", "21"]
    ordered = predict_values(replace(config, order="sorted", output_dir=tmp_path / "sorted"))
    found = pq.read_table(ordered.folder / "values.parquet").to_pydict()
    assert found["sea"] == sorted(table["sea"], reverse=True)
    assert sorted(found["id"]) == sorted(table["id"])
    buckets = predict_values(replace(config, order="buckets", output_dir=tmp_path / "buckets"))
    bounds = [-math.inf, *bucket_bounds(ValueStudent.from_pretrained(config.student)), math.inf]
    total = 0
    for number, name in enumerate(buckets.files):
        own = pq.read_table(buckets.folder / name).to_pydict()["sea"]
        assert all(bounds[number] <= value < bounds[number + 1] for value in own)
        total += len(own)
    assert total == 48


def test_a_backbone_in_bfloat16_orders_rows_as_in_float32(fitted):
    folder = fitted[1].folder
    texts = [f"go on\n{row['response']}" for row in rows_of(200, seed=4)[0]]
    exact, short = (
        ValueStudent.from_pretrained(folder, device="cpu", dtype=dtype).scores(texts)[:, 0]
        for dtype in ("float32", "bfloat16")
    )
    assert not np.array_equal(exact, short), "it did run in bfloat16"
    assert rank_correlation(short, exact) > 0.998
    assert len(np.unique(short)) > 0.95 * len(np.unique(exact)), "pooling and head are not rounded: rows stay apart"


def test_a_killed_prediction_goes_on(fitted, tmp_path, monkeypatch):
    config = predict_config(fitted, tmp_path)
    original, seen = predicting._write_part, []

    def write(place, *arguments):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(place.name)
        original(place, *arguments)

    monkeypatch.setattr(predicting, "_write_part", write)
    with pytest.raises(KeyboardInterrupt):
        predict_values(config)
    monkeypatch.setattr(
        predicting, "_write_part", lambda place, *rest: seen.append(place.name) or original(place, *rest)
    )
    result = predict_values(config)
    assert seen == ["00000000", "00000001", "00000002", "00000003"], "no part twice"
    assert result.rows == 48
    assert not (config.output_dir / ".parts").exists()
    again = predict_values(config)
    assert (again.rows, again.rows_per_second) == (48, 0.0)


def test_refusals_and_commands(fitted, tmp_path, capsys):
    config, _ = fitted
    for changes, error, message in (
        ({"tasks": ("land",)}, ConfigError, "no column 'land'"),
        ({"rows": 20}, DataError, "20 rows are too few"),
        ({"held_out": 0.5}, ConfigError, "can't be fitted"),
        ({"values": tmp_path / "none.parquet"}, DataError, "Table not found"),
        (
            {"data": write_rows(tmp_path / "other.jsonl", [{"id": "z", "instruction": "a", "response": "b"}])},
            DataError,
            "is not in the data",
        ),
    ):
        with pytest.raises(error, match=message):
            fit_student(replace(config, output_dir=tmp_path / "no", **changes))
    with pytest.raises(ModelError, match="no student"):
        predict_values(predict_config(fitted, tmp_path, student=tmp_path))
    options = [
        "--student",
        str(config.output_dir),
        "--data",
        str(config.data),
        "--output-dir",
        str(tmp_path / "p"),
        "--quiet",
    ]
    assert main(["value", "predict", *options]) == 0
    assert "120 rows, 0 problems" in capsys.readouterr().out
    fit_options = [
        "--values",
        str(config.values),
        "--data",
        str(config.data),
        "--epochs",
        "1",
        "--student-length",
        "16",
    ]
    assert main(["value", "fit", *fit_options, "--output-dir", str(tmp_path / "f"), "--quiet"]) == 0
    assert "Spearman" in capsys.readouterr().out
    page = tmp_path / "page.html"
    paths = ["--values", str(config.values), "--data", str(config.data), "--student", str(config.output_dir)]
    assert main(["value", "report", *paths, "--output", str(page)]) == 0
    written = page.read_text()
    assert written.count("<svg") == 2, "the distribution, and predicted against true"
    assert "bm25.sea" in written
    assert "<script" not in written
    best = max(zip(read_table(config.values)["sea"], read_table(config.values)["id"], strict=True))[1]
    assert written.index(f"<td>{best}</td>") < written.index("Worth least")
    assert main(["value"]) == 2
    assert main(["value", "--help"]) == 0
    for path in (tmp_path / "t.jsonl", tmp_path / "t.csv"):
        write_table(path, {"id": ["a", "b"], "line": [1, 2], "sea": [0.5, -1.0]})
        assert read_table(path)["sea"] == [0.5, -1.0]
        assert read_table(path)["id"] == ["a", "b"]


def test_on_the_hub_a_student_brings_its_card_and_no_path_of_this_disk(fitted, tmp_path, monkeypatch):
    _, result = fitted
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **_: hub)
    student = ValueStudent.from_pretrained(result.folder, device="cpu")
    assert student.push_to_hub("owner/sea", private=True) == "https://hub/owner/sea/commit/c0ffee"
    assert hub.made == [("owner/sea", "model", True, True)]
    for name, content in hub.files["owner/sea"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    texts = ["go on\n" + " ".join(SEAS[:6])]
    again = ValueStudent.from_pretrained(tmp_path, device="cpu")
    assert again.values_of(texts)["sea"] == pytest.approx(student.values_of(texts)["sea"])
    said = hub.text("owner/sea") + hub.text("owner/sea", "student.json")
    assert str(result.folder.parent) not in said
    assert 'snapshot_download("owner/sea")' in said
    assert f"fitted on {student.spec.fitted_on} rows" in said


def test_a_kernel_on_a_model_of_this_disk_stays_here(fitted):
    student = ValueStudent.from_pretrained(fitted[1].folder, device="cpu")
    student.spec = replace(student.spec, kernel=True)
    with pytest.raises(ModelError, match="lies on this disk"):
        student.push_to_hub("owner/sea")
