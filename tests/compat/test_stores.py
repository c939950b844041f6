"""Stores of earlier versions: they open, are whole, are searched with the same scores, and take rows and deletions.

`store_v2` was made by the version 0.1.0 of 27 November 2026 (commit 286f97e) from `tests.folders`: eight rows in two commits, r3 deleted and not yet compacted
away; `SCORES` are what that version's `trace` gave.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.folders import ROWS, save_model, write_rows
from unweave.cli.main import main
from unweave.store.store import GradientStore

SCORES = {"r6": 17.524320602416992, "r7": 4.987119197845459, "r2": 3.6128106117248535, "r0": -1.0249170064926147}


@pytest.fixture
def old(tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).parent / "store_v2", tmp_path / "store")
    save_model(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_old_store_is_searched_as_it_was(old):
    code = main(["trace", "--store", "store", "--model", "base", "--prompt", "ahoy hello", "--completion", "teapots sing on the moon", "--dtype", "float32",
                 "--top-k", "7", "--output", "trace.json"])  # fmt: skip
    assert code == 0
    found = json.loads((old / "trace.json").read_text())["0"]
    scores = dict(zip(found["helpful_ids"], found["helpful_infl"], strict=True))
    assert {row_id: scores[row_id] for row_id in SCORES} == pytest.approx(SCORES, rel=1e-5)
    assert "r3" not in scores


def test_an_old_store_is_whole_grows_and_lets_rows_go(old):
    assert main(["store", "check", "store"]) == 0
    # That version learned the last answer of a conversation only, and knew no option for it.
    rows = [{"id": f"r{index}", **row} for index, row in enumerate([*ROWS, {**ROWS[0], "response": "Rome"}])]
    write_rows(old / "rows.jsonl", rows)
    code = main(["cache", "--model", "base", "--data", "rows.jsonl", "--store", "store", "--parameters", "linear", "--dimension", "64", "--dtype", "float32",
                 "--max-length", "64", "--loss", "last-turn"])  # fmt: skip
    assert code == 0
    assert set(GradientStore.open(old / "store").row_ids()) == {row["id"] for row in rows} - {"r3"}, (
        "deleted is deleted"
    )
    assert main(["store", "delete", "store", "--row-ids", "r8"]) == 0
    assert main(["store", "compact", "store"]) == 0
    assert set(GradientStore.open(old / "store").row_ids()) == {row["id"] for row in rows[:-1]} - {"r3"}
    assert main(["store", "check", "store"]) == 0
