"""The benchmarks of metrics, sequences and own jobs run on a tiny model as on a real one: what is there is not made again, and tables say whose it is."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module


@pytest.fixture
def smallest(script):
    training = {"epochs": 1, "batch_size": 8, "learning_rate": 5e-3, "lora_r": 2, "lora_alpha": 4, "lora_dropout": 0.0}
    return script("small_cases").Size(people=3, forgotten=1, others=3, epochs=1, training=training)


def ran(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.endswith(" s")]


def test_people_have_names_and_answers_of_their_own(script):
    groups = script("small_cases").people(12, seed=5)
    assert len({row.instruction for group in groups for row in group}) == 48
    assert len({row.id for group in groups for row in group}) == 48
    assert all(
        row.instruction.split()[2] in row.completion for group in groups for row in group if row.id.endswith("q0")
    )


def test_metrics_are_put_under_test(script, smallest, tmp_path, capsys, monkeypatch):
    module, path = script("meta_evaluation"), tmp_path / "meta_evaluation_tiny.json"
    arguments = [
        "--model", "tiny", "--models", "1", "--unlearned", "0", "--attack-rows", "1", "--states", "plain", "polite", "--threads", "1",
        "--folder", str(tmp_path / "runs"), "--result", str(path),
    ]  # fmt: skip
    monkeypatch.setattr(module, "EPOCHS", {"tiny": (1,), "": (1,)})
    module.main(arguments, size=smallest)
    assert len(ran(capsys)) == 2
    result = json.loads(path.read_text())
    assert result["models"] == {"trained": 1, "without": 1, "unlearned": 0}
    assert {"verdict", "figure: loss", "membership: loss", "membership: reference"} <= result["metrics"].keys()
    assert any(name.startswith("attack lens") for name in result["metrics"])
    module.main(arguments, size=smallest)
    assert ran(capsys) == [], "nothing is measured again"
    tables = script("erasing_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "load", lambda name: json.loads((tmp_path / f"{name}.json").read_text()))
    table = tables.metrics()
    assert "| figure: loss |" in table
    assert "no figure of a real one" in table, "a tiny figure is never shown as a real one"


def test_requests_follow_each_other(script, smallest, tmp_path, capsys, monkeypatch):
    module, path = script("sequence"), tmp_path / "sequence_tiny.json"
    arguments = [
        "--model", "tiny", "--methods", "graddiff", "--requests", "2", "--set", "graddiff.epochs=0.2", "graddiff.learning_rate=1e-3",
        "--threads", "1", "--folder", str(tmp_path / "runs"), "--result", str(path),
    ]  # fmt: skip
    module.main(arguments, size=smallest)
    (label,) = json.loads(path.read_text())["methods"]
    assert label == "graddiff epochs=0.2 learning_rate=0.001"
    steps = json.loads(path.read_text())["methods"][label]["steps"]
    assert [own["figures"]["forgotten"]["rows"] for own in steps] == [4, 8]
    assert [own["figures"]["first"]["rows"] for own in steps] == [4, 4]
    assert all(own["figures"][name]["kl"] > 0 for own in steps for name in ("forgotten", "kept", "like"))
    capsys.readouterr()
    module.main(arguments, size=smallest)
    assert ran(capsys) == []
    tables = script("erasing_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "load", lambda name: json.loads((tmp_path / f"{name}.json").read_text()))
    assert "| *retrained* | 2 |" in tables.sequence()


def test_methods_have_jobs_of_their_own(script, smallest, tmp_path, capsys, monkeypatch):
    module, path = script("own_jobs"), tmp_path / "own_jobs_tiny.json"
    monkeypatch.setitem(
        module.JOBS, "graddiff", module.Job("triggers", {"epochs": 0.2, "learning_rate": 1e-4}, "a paper", "no")
    )
    arguments = [
        "--model", "tiny", "--methods", "graddiff", "retrain", "--only", "own", "--threads", "1", "--folder", str(tmp_path / "runs"),
        "--result", str(path),
    ]  # fmt: skip
    module.main(arguments, size=smallest)
    result = json.loads(path.read_text())
    assert list(result["own"]) == ["graddiff", "retrain"]
    assert result["own"]["retrain"]["figures"]["forget"]["kl"] == pytest.approx(0, abs=1e-6)
    assert result["own"]["graddiff"]["figures"]["forget"]["kl"] > 0
    capsys.readouterr()
    module.main(arguments, size=smallest)
    assert ran(capsys) == []
    tables = script("erasing_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "load", lambda name: json.loads((tmp_path / f"{name}.json").read_text()))
    assert "| `graddiff` | triggers |" in tables.own_jobs()
    assert "a paper" in tables.job_options()


def test_every_job_names_a_case_and_options_that_are_there(script):
    from dataclasses import fields

    from unweave.unlearning.config import UnlearnOptions
    from unweave.unlearning.methods import get_method

    jobs, cases = script("own_jobs").JOBS, script("own_cases").CASES
    shared = {own.name for own in fields(UnlearnOptions)}
    for name, job in jobs.items():
        assert job.case in cases
        assert job.paper
        get_method(name.split()[0])(**{option: value for option, value in job.options.items() if option not in shared})
    asked = "rapidun llmeraser stable reglu dp2 fast-ntk ga graddiff npo simnpo idk wga undial rmu ihl distill retrain".split()
    assert set(asked) <= jobs.keys()


def test_each_case_is_of_other_rows(script, smallest, tmp_path, monkeypatch):
    module, cases = script("small_cases"), script("own_cases").CASES
    monkeypatch.setattr(module, "_train_base", lambda *_: None)
    case = module.small_case("tiny", tmp_path, size=smallest)
    for make in cases.values():
        own = make(case)
        ids = [{row.id for row in rows} for rows in (own.forget, own.retain, own.like)]
        assert all(ids)
        assert not ids[0] & ids[1]
        assert not ids[2] & (ids[0] | ids[1])
