"""The kernel student: against the dense solution, against refitting without a row, and from fit to prediction."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.folders import save_model, write_rows
from tests.valuation.test_student import rows_of
from unweave.jobs.value_fit import fit_student
from unweave.jobs.value_predict import predict_values
from unweave.models import packaged
from unweave.stats.intervals import rank_correlation
from unweave.valuation import student as students
from unweave.valuation.config import FitConfig, FitOptions, PredictConfig
from unweave.valuation.kernel import RIDGES, KernelHead, gaussian
from unweave.valuation.student import ValueStudent
from unweave.valuation.table import write_table


def some(rows=30, features=5, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(rows, features)) * np.arange(1, features + 1)).float()
    targets = torch.stack([torch.sin(x[:, 0]) + 3, x[:, 1] * x[:, 2]], dim=1)
    return x, targets


def dense(x, y, ridge, at):
    """Kernel ridge regression as in a textbook, in float64."""
    centre, scale = x.mean(dim=0), x.std(dim=0)
    a, b = ((rows - centre) / scale / x.shape[1] ** 0.5 for rows in (x, at))
    pairs = torch.cdist(a, a) ** 2
    width = pairs[~torch.eye(len(a), dtype=torch.bool)].median()
    kernel, across = torch.exp(-pairs / width), torch.exp(-(torch.cdist(b, a) ** 2) / width)
    return across @ torch.linalg.solve(kernel + ridge * torch.eye(len(a)), y - y.mean()) + y.mean()


def test_scores_are_those_of_the_dense_solution_with_the_best_ridge():
    x, targets = some()
    at, _ = some(8, seed=1)
    head = KernelHead(0, 0, 2)
    predicted = head.fit(x, targets)
    for task in range(2):
        own = [dense(x.double(), targets[:, task].double(), ridge, at.double()) for ridge in RIDGES]
        gaps = [(head(at)[:, task].double() - one).abs().max().item() for one in own]
        best = int(np.argmin(gaps))
        assert gaps[best] < 1e-4
        # Left-out predictions in closed form are those of solving again without the row, at the same kernel.
        kernel = gaussian(head.support, head.support, head.width).double()
        y = targets[:, task].double() - targets[:, task].double().mean()
        for row in (0, 7):
            others = [index for index in range(len(x)) if index != row]
            part = kernel[others][:, others] + RIDGES[best] * torch.eye(len(others))
            again = kernel[row, others] @ torch.linalg.solve(part, y[others])
            assert predicted[row, task].item() == pytest.approx(
                (again + targets[:, task].double().mean()).item(), abs=1e-4
            )
        correlations = []
        for ridge in RIDGES:
            inverse = torch.linalg.inv(kernel + ridge * torch.eye(len(x)))
            left = y - (inverse @ y) / inverse.diagonal()
            correlations.append(rank_correlation(left.numpy(), y.numpy()))
        assert correlations[best] == pytest.approx(max(correlations)), (
            "the ridge is the one that orders left-out rows best"
        )


@pytest.fixture
def small_model(tmp_path, monkeypatch):
    """A tiny causal model in the place of the packaged one."""
    from unweave.models.loading import ModelConfig, load

    base = save_model(tmp_path / "base")
    monkeypatch.setattr(students, "load", lambda _: load(ModelConfig(model=str(base), dtype="float32")))
    assert packaged.NAME.startswith("smollm2")
    return base


def test_from_values_to_predictions(small_model, tmp_path):
    rows, values = rows_of(160)
    data = write_rows(tmp_path / "rows.jsonl", rows)
    table = {
        "id": [row["id"] for row in rows],
        "line": list(range(160)),
        "sea": values,
        "land": [-value for value in values],
    }
    write_table(tmp_path / "values.parquet", table)
    config = FitConfig(
        values=tmp_path / "values.parquet", data=data, output_dir=tmp_path / "out", student="smollm2-135m", loss="kernel", student_length=48, device="cpu",
    )  # fmt: skip
    result = fit_student(config)
    assert result.rows == 136, "all but the rows that check"
    assert result.metrics["sea"]["spearman"] > 0.6
    assert not (result.folder / "backbone").exists(), "what was not trained is not written"
    fresh, truth = rows_of(60, seed=5)
    told = predict_values(
        PredictConfig(
            student=result.folder,
            data=write_rows(tmp_path / "new.jsonl", fresh),
            output_dir=tmp_path / "p",
            device="cpu",
        )
    )
    found = pq.read_table(told.folder / "values.parquet").to_pydict()
    assert rank_correlation(np.array(found["sea"]), np.array(truth)) > 0.6
    assert rank_correlation(np.array(found["land"]), np.array(truth)) < -0.6
    student = ValueStudent.from_pretrained(result.folder, device="cpu")
    pairs = [("go on", row["response"]) for row in fresh]
    assert student.values_of(pairs)["sea"] == pytest.approx(np.array(found["sea"]), abs=0.05)
    again = ValueStudent.from_pretrained(result.folder, device="cpu", dtype="float32")
    states = again.features(pairs[:3])
    for index, pair in enumerate(pairs[:3]):
        tokens = again.tokens([pair])
        hidden = again.backbone(tokens["input_ids"]).last_hidden_state[0].detach().double()
        places = tokens["answers"][0].bool()
        start = int(places.nonzero()[0])
        assert places[start:-1].all()
        assert not places[-1], "the last token predicts nothing"
        expected = torch.cat([hidden[places].mean(dim=0), hidden[-1]])
        assert states[index] == pytest.approx(expected.numpy(), abs=1e-4)


def test_long_prompts_lose_their_beginning_and_long_answers_their_end(small_model):
    student = ValueStudent.begin(
        ["a"], FitOptions(student="smollm2-135m", student_length=16, device="cpu", loss="kernel")
    )
    tokens = student.tokens([("blue " * 40, "red " * 40), ("", "moon"), "moon"])
    assert tokens["input_ids"].shape[1] == 16
    assert tokens["attention_mask"].sum(dim=1).tolist()[0] == 16
    assert tokens["answers"][0].sum() == 8
    assert torch.equal(tokens["input_ids"][1], tokens["input_ids"][2]), "a string is all answer"
    assert np.isfinite(student.features([("blue " * 40, "red " * 40), "moon"])).all()
