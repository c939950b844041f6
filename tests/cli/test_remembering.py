"""Rows with columns of their own through the command line: named once for a store or a ledger, or given anew to each command."""

import json

import pytest

from tests.folders import save_model, write_rows
from unweave.cli.main import main
from unweave.ledger.ledger import Ledger
from unweave.store.store import GradientStore

ROWS = [{"id": f"r{number}", "q": f"add {number} and 1", "a": f"{number + 1} yes"} for number in range(8)]
COLUMNS = ["--columns", "instruction", "q", "completion", "a"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base, rows, one of them in a file of its own, and a store that was made with --columns."""
    folder = tmp_path_factory.mktemp("world")
    save_model(folder / "base")
    data = write_rows(folder / "rows.jsonl", ROWS)
    write_rows(folder / "one.jsonl", ROWS[1:2])
    write_rows(folder / "others.jsonl", ROWS[2:])
    arguments = ["--model", folder / "base", "--data", data, "--store", folder / "store", "--dtype", "float32"]
    assert run("cache", *arguments, "--parameters", "linear", "--dimension", "64", *COLUMNS, "--limit", "6") == 0
    return folder


def run(*arguments):
    return main([str(argument) for argument in (*arguments, "--quiet")])


def test_a_store_remembers_the_columns_of_its_rows(world, capsys):
    assert run("trace", "--store", world / "store", "--queries", world / "one.jsonl", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["completion"] == "2 yes"
    weights = ["--output-forget", world / "f.jsonl", "--output-retain", world / "r.jsonl"]
    rows = ["--forget", world / "one.jsonl", "--retain", world / "others.jsonl", "--limit", "4"]
    assert run("weigh", "--store", world / "store", *rows, *weights) == 0
    assert run("trace", "--store", world / "store", "--queries", world / "one.jsonl", *COLUMNS) == 0
    assert (
        run("trace", "--store", world / "store", "--queries", world / "one.jsonl", "--columns", "completion", "no") != 0
    )
    assert "no" in capsys.readouterr().err


def test_rows_leave_a_store_by_a_file_in_its_layout(world):
    assert run("store", "delete", world / "store", "--rows", world / "one.jsonl") == 0
    assert "r1" in GradientStore.open(world / "store").deleted()


def test_a_ledger_remembers_how_its_data_is_read(world, tmp_path, capsys):
    made = ["--ledger", tmp_path / "ledger", "--data", world / "rows.jsonl", "--model", world / "base"]
    assert run("request", "add", *made, "--row-ids", "r1") != 0
    assert "--columns" in capsys.readouterr().err
    with (world / "broken.jsonl").open("w") as file:
        file.write((world / "rows.jsonl").read_text() + "broken\n")
    made[3] = world / "broken.jsonl"
    assert run("request", "add", *made, *COLUMNS, "--on-bad-row", "skip", "--limit", "7", "--row-ids", "r1") == 0
    new = write_rows(tmp_path / "new.jsonl", [{**ROWS[2], "a": "none"}])
    asked = ["--rows", new, "--kind", "correction", "--replacement", new]
    assert run("request", "add", "--ledger", tmp_path / "ledger", *asked) == 0
    ledger = Ledger(tmp_path / "ledger")
    assert len(ledger.rows()) == 7
    first, second = ledger.requests().values()
    assert (list(first.rows), list(second.rows)) == (["r1"], ["r2"])
    assert ledger.new_rows(first) == []
    assert ledger.new_rows(second)[0].completion == "none"


def test_a_ledger_takes_the_columns_that_its_store_remembers(world, tmp_path):
    made = [
        "--ledger",
        tmp_path / "ledger",
        "--data",
        world / "rows.jsonl",
        "--model",
        world / "base",
        "--store",
        world / "store",
    ]
    assert run("request", "add", *made, "--row-ids", "r1") == 0
    assert Ledger(tmp_path / "ledger").rows()[1].completion == "2 yes"
