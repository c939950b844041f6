"""Rows, ids, columns, tasks, files and folders with the worst of names: commands work, what people see is safe, what programs read is exact."""

import contextlib
import csv
import io
import json
import os
import re
import stat
import unicodedata

import pytest
import yaml

from tests.folders import save_model, write_rows
from unweave.cli.main import main
from unweave.valuation.table import read_table

# What a terminal, HTML, Markdown, YAML, a formula of a spreadsheet and one of matplotlib would take for more than text.
EVIL = "\x1b[2J\x9b1m\u202e\u2028\x07\x7f\r\n---\nk: v\n| ` <img src=x onerror=alert(1)> [a](http://x.example) $\\frac$"
NAME = "\x1b[31m\u202e\n---\nk: v | ` <b> [a](b) $x$ "
TASK = "price $5 \\frac $ <b> | `"
UMASK = 0o027


def told(*arguments, code=0):
    """What a command prints on both streams."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        found = main([str(argument) for argument in arguments])
    assert found == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def is_safe(text):
    return not {
        one for one in text if one != "\n" and unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Each command once, in a folder of a hostile name; the streams of each."""
    folder = tmp_path_factory.mktemp("hostile") / NAME
    folder.mkdir()
    records = [
        {"id": f"={i}{EVIL}", "prompt": f"add {i} {EVIL}", "completion": f"{i} yes {EVIL}", f"col{EVIL}": EVIL}
        for i in range(6)
    ]
    base, data = save_model(folder / f"base{NAME}"), write_rows(folder / f"rows{NAME}.jsonl", records)
    task = write_rows(folder / "task.jsonl", [{"prompt": "add 1", "completion": "1 yes"}])
    queries = write_rows(folder / "queries.jsonl", records[:1])
    own = ["--model", base, "--dtype", "float32"]
    store, values, ledger = folder / "store", folder / "values.csv", folder / "ledger"
    adapter, full = folder / f"out{NAME}", folder / "full"
    before = os.umask(UMASK)
    try:
        made = {
            "train": told("train", *own, "--data", data, "--output-dir", adapter, "--epochs", "1", "--lora-r", "2"),
            "full": told("train", *own, "--data", data, "--output-dir", full, "--epochs", "1", "--tuning", "full"),
            "rows": told("rows", data, "--model", base),
            "doctor": told("doctor", "--model", adapter, "--dtype", "float32", "--data", data),
            "cache": told("cache", "--model", adapter, "--dtype", "float32", "--data", data, "--store", store, "--dimension", "64"),
            "trace": told("trace", "--store", store, "--queries", queries, "--dtype", "float32", "--html", folder / "t.html", "--top-k", "3", "--rerank", "3"),
            "trace --json": told("trace", "--store", store, "--queries", queries, "--dtype", "float32", "--json"),
            "score": told("value", "score", *own, "--data", data, "--tasks", f"{TASK}={task}", "--output", values),
            "report": told("value", "report", "--values", values, "--data", data, "--output", folder / "v.html"),
            "store info": told("store", "info", store),
            "store check": told("store", "check", store),
            "error": told("trace", "--store", folder / f"none{EVIL}", "--prompt", "a", "--completion", "b", code=1),
        }  # fmt: skip
        ids = ["--ledger", ledger, "--data", data, "--model", adapter]
        made["add"] = told("request", "add", *ids, "--row-ids", records[0]["id"], "--reason", EVIL)
        made["list"] = told("request", "list", "--ledger", ledger)
    finally:
        os.umask(before)
    return folder, made, records


def test_no_stream_holds_a_character_that_hides(world):
    for command, streams in world[1].items():
        for text in streams:
            assert is_safe(text), (command, text)


def test_json_holds_the_rows_exactly(world):
    _, made, records = world
    found = json.loads(made["trace --json"][0])
    ids = {row["row_id"] for row in found[0]["helpful"] + found[0]["harmful"]}
    assert ids <= {record["id"] for record in records}
    assert ids


def test_pages_and_cards_hold_none_and_no_markup_of_names(world):
    pages = [path for path in world[0].rglob("*") if path.suffix in (".html", ".md") and path.is_file()]
    assert {path.suffix for path in pages} == {".html", ".md"}
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert is_safe(text), path
        if path.suffix == ".html":
            assert not re.search(r"<(img|b\W.*onerror)", text), path
    assert "price $5 \\frac $" in (world[0] / "v.html").read_text(encoding="utf-8")


def test_the_front_matter_of_a_card_has_its_own_keys_only(world):
    folder = world[0]
    card = (folder / f"out{NAME}" / "README.md").read_text(encoding="utf-8")
    _, front, body = re.split(r"^---$", card, flags=re.MULTILINE)
    assert yaml.safe_load(front) == {
        "base_model": str(folder / f"base{NAME}"),
        "library_name": "peft",
        "tags": ["unweave", "lora"],
    }
    assert len([line for line in body.split("\n") if line.startswith("# ")]) == 1


def test_a_table_has_a_line_a_row_no_formula_and_gives_the_ids_back(world):
    folder, _, records = world
    lines = (folder / "values.csv").read_text(encoding="utf-8").split("\n")
    assert len(lines) == len(records) + 2
    assert is_safe("\n".join(line.rstrip("\r") for line in lines))
    with (folder / "values.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["id"].startswith("'=") for row in rows)
    assert all(isinstance(float(row[TASK]), float) for row in rows)
    assert read_table(folder / "values.csv")["id"] == [record["id"] for record in records]


def test_files_have_the_mode_that_the_umask_gives(world):
    folder = world[0]
    made = [path for path in folder.rglob("*") if path.is_file()]
    theirs = {
        path
        for path in made
        if (path.parent == folder and path.suffix == ".jsonl") or path.parent.name.startswith("base")
    }
    modes = {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in made if path not in theirs
    }
    assert len(modes) > 20
    # The key that hides what a ledger holds is its owner's alone.
    assert modes.pop("ledger.key") == 0o600
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o666 & ~UMASK} == {}
    assert {
        oct(stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_dir() and not path.name.startswith("base")
    } == {oct(0o777 & ~UMASK)}


@pytest.mark.parametrize("name", ["id", "line", "loss", "tracin", "bm25.x", "random", "a\x1b", " "])
def test_a_task_with_the_name_of_another_column_is_refused_before_any_work(name, tmp_path):
    _, err = told(
        "value",
        "score",
        "--data",
        tmp_path / "no.jsonl",
        "--tasks",
        f"{name}=x.jsonl",
        "--output",
        tmp_path / "v.csv",
        code=2,
    )
    assert "A task can't be named" in err
    assert is_safe(err)
