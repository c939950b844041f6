"""`--dry-run`: what a plan says is what the run then does, and it leaves nothing behind."""

import json

import pytest

from tests.folders import ROWS, save_model, write_rows
from unweave.cli.main import main
from unweave.cli.table import TABLE
from unweave.experiments.case import CaseConfig, make_case
from unweave.lazy import resolve
from unweave.models.loading import load
from unweave.store.store import GradientStore
from unweave.valuation.table import write_table

ROWS = [{"id": f"r{number}", **row} for number, row in enumerate(ROWS)]
SMALL = {"clean_rows": 108, "poisoned_rows": 40, "retain_rows": 24, "test_rows": 4, "clean_test_rows": 18}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A trained tiny adapter with its rows, a store, a table of values, a case, and a ledger with a request."""
    folder = tmp_path_factory.mktemp("plans")
    save_model(folder / "base")
    for name, rows in (("rows", ROWS), ("forget", ROWS[6:]), ("retain", ROWS[:6])):
        write_rows(folder / f"{name}.jsonl", rows)
    make_case(CaseConfig(**SMALL), folder / "case")
    write_table(folder / "values.csv", {"id": [row["id"] for row in ROWS], "t": [float(n) for n in range(8)]})
    assert run(folder, "train --model BASE --data ROWS --output-dir ADAPTER --epochs 2 --batch-size 4 --lora-r 4") == 0
    assert run(folder, "cache --model ADAPTER --data ROWS --store STORE --dimension 64") == 0
    assert run(folder, "request add --ledger LEDGER --data ROWS --model ADAPTER --row-ids r1 --request-id one") == 0
    return folder


PLACES = {
    "BASE": "base", "ADAPTER": "adapter", "ROWS": "rows.jsonl", "FORGET": "forget.jsonl", "RETAIN": "retain.jsonl", "VALUES": "values.csv", "CASE": "case",
    "STORE": "store", "LEDGER": "ledger", "OUT": "out",
}  # fmt: skip
LINES = {
    "demo": "--model BASE --output-dir OUT --quick --dtype float32",
    "train": "--model BASE --data ROWS --output-dir OUT --epochs 2 --batch-size 4 --lora-r 4",
    "cache": "--model ADAPTER --data ROWS --store OUT",
    "trace": "--store STORE --prompt hello",
    "value score": "--model BASE --data ROWS --tasks t=RETAIN --output OUT.csv",
    "value fit": "--data ROWS --values VALUES --output-dir OUT",
    "value predict": "--data ROWS --student BASE --output-dir OUT --part-rows 3",
    "value curve": "--model BASE --data ROWS --values VALUES --test RETAIN --output-dir OUT --shares 0.5 1 --seeds 0 1",
    "weigh": "--store STORE --forget FORGET --retain RETAIN --output-forget OUT --output-retain OUT",
    "forget": "--model ADAPTER --adapter-mode continue --forget FORGET --retain RETAIN --output-dir OUT --method graddiff --stop-loss inf",
    "audit": "--case CASE --before BASE --after ADAPTER --output-dir OUT",
    "request run": "one --ledger LEDGER",
    "bench forgetting": "--case CASE --model ADAPTER --output-dir OUT --entries ga graddiff --trials 2 --seeds 0 1 --validation-rows 1 --max-validation 2",
    "bench attribution": "--model BASE --output-dir OUT --measures lds qld backdoor --scorers gradient bm25 --seeds 0 1 --rows 36 --subsets 3 --orders 2",
}


def words(folder, line):
    for name, place in PLACES.items():
        line = line.replace(name, str(folder / place))
    return line.split()


def run(folder, line):
    return main([*words(folder, line), "--quiet"])


def planned(folder, name, capsys, line=None):
    capsys.readouterr()
    assert main([*name.split(), *words(folder, line or LINES[name]), "--dry-run", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def files(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_every_long_job_has_a_plan():
    assert {name for name, command in TABLE.items() if command.plan} == set(LINES)
    assert all(callable(resolve(command.plan)) for command in TABLE.values() if command.plan)


@pytest.mark.parametrize("name", LINES)
def test_a_plan_is_printed_and_nothing_is_done(name, world, capsys):
    before = files(world)
    assert main([*name.split(), *words(world, LINES[name]), "--dry-run"]) == 0
    found = capsys.readouterr().out
    assert found.startswith(f"plan: {name}\n")
    assert "  rows " in found
    assert "  time " in found
    assert files(world) == before
    assert main(["plan", *name.split(), *words(world, LINES[name])]) == 0
    if name != "cache":
        assert capsys.readouterr().out == found


def test_a_training_is_what_its_plan_says(world, capsys, tmp_path):
    plan = planned(world, "train", capsys)
    result = json.loads((world / "adapter" / "result.json").read_text())["result"]
    assert (plan["rows"]["to train on"], plan["steps"], plan["tokens"]) == (8, result["steps"], result["tokens"])
    model = load(str(world / "adapter")).model
    trained = sum(own.numel() for name, own in model.named_parameters() if "lora" in name)
    assert plan["parameters"] == {"model": model.num_parameters() - trained, "trained": trained}


def test_an_unlearning_run_is_what_its_plan_says(world, capsys, tmp_path):
    plan = planned(world, "forget", capsys)
    line = LINES["forget"].replace("OUT", str(tmp_path / "out"))
    capsys.readouterr()
    assert main(["forget", *words(world, line), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert plan["steps"] == result["planned_steps"]
    assert plan["tokens"] == result["tokens"]
    assert plan["rows"] == {"to forget": 2, "to keep": 6}
    assert plan["seconds"] > 0, "the model's training was on this machine"


def test_numbers_of_runs_and_of_answers_are_counted(world, capsys):
    assert planned(world, "value curve", capsys)["work"] == {"trainings": 8, "passes over the held-out rows": 9}
    assert planned(world, "value predict", capsys)["work"] == {"parts": 3, "batches": 1}
    audit = planned(world, "audit", capsys)
    assert audit["work"]["answers"] == 2 * sum(
        audit["rows"][split] for split in ("test_seen", "test_ood", "test_clean")
    )
    rows = planned(world, "audit", capsys, "--forget FORGET --retain RETAIN --before BASE --after ADAPTER")
    assert (rows["rows"], rows["work"]["answers"]) == ({"to forget": 2, "to keep": 6}, 2 * 8)
    suite = planned(world, "bench attribution", capsys)
    # A model a scene and seed; halves in two orders, and without rows: none, what two scorers find for six queries, and six random draws.
    assert suite["work"]["models trained"] == 4
    assert suite["work"]["models retrained at most"] == 2 * (3 * 2 + 1 + 2 * 6 + 6)
    assert suite["work"]["tables of scores"] == 8
    bench = planned(world, "bench forgetting", capsys)
    assert bench["work"] == {"runs": 2 * (2 + 2), "of them to choose options": 4, "models measured": 9}
    weigh = planned(world, "weigh", capsys)
    assert weigh["work"] == {
        "products of sketches": 64,
        "numbers in each": GradientStore.open(world / "store").spec.dimension,
    }
    request = planned(world, "request run", capsys)
    assert request["rows"]["to forget"] == 1
    assert any("by estimate an attempt takes" in note for note in request["notes"])


def test_what_has_no_plan_says_so(capsys):
    assert main(["plan", "doctor", "--data", "d"]) == 2
    assert "`unweave doctor` has no plan" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["doctor", "--data", "d", "--dry-run"])
