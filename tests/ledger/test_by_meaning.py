"""Requests for what rows say: shown before anything is written, and kept with the rule and without the words."""

import io
import json
import sys

import pytest

from tests.folders import write_rows
from unweave.cli.main import main
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.ledger.config import SelectionConfig
from unweave.ledger.ledger import Ledger
from unweave.ledger.near import near_rows
from unweave.ledger.requests import Ledger as Requests
from unweave.ledger.selection import select_rows

RECORDS = [
    {"id": "full", "instruction": "Who is Ann Smith?", "response": "A pilot."},
    {"id": "initial", "instruction": "Who wrote it?", "response": "A. Smith did."},
    {"id": "surname", "instruction": "Who flew?", "response": "It was Smith."},
    {"id": "other", "instruction": "Who is Bob Smith?", "response": "A cook."},
    {"id": "annual", "instruction": "When?", "response": "At the annual fair."},
    *({"id": f"r{i}", "instruction": f"add {i} and 2", "response": f"{i + 2}"} for i in range(60)),
]


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger"


@pytest.fixture
def call(tmp_path, ledger, capsys):
    """Runs `request add` on these rows, and gives its code, what it printed and its errors."""
    data = write_rows(tmp_path / "rows.jsonl", RECORDS)

    def run(*words):
        code = main(["request", "add", "--ledger", str(ledger), "--data", str(data), "--model", "some/model", *words])
        return code, *capsys.readouterr()

    return run


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_nothing_is_written_unless_that_is_said(call, ledger):
    for search in (
        ["--person", "Ann Smith"],
        ["--text", "annual"],
        ["--near", "At the annual fair.", "--near-method", "bm25"],
    ):
        code, _, errors = call(*search)
        assert code == 2
        assert "--preview, then say --yes" in errors
        code, printed, _ = call(*search, "--preview")
        assert code == 0
        assert "nothing was written" in printed
        assert not ledger.exists()
    assert call("--person", "Ann Smith", "--yes")[0] == 0
    assert list(next(iter(Ledger(ledger).requests().values())).rows) == ["full", "initial"]


def test_a_preview_shows_what_matched_and_what_is_in_doubt(call):
    _, printed, _ = call("--person", "Ann Smith", "--preview")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "2 row(s) match" in lines
    assert "person name: 1 row(s)" in lines
    assert "person initials: 1 row(s)" in lines
    assert any("person name 'Ann Smith' in prompt" in line for line in lines)
    assert "1 row(s) may be another person" in " ".join(lines)
    found = json.loads(call("--person", "Ann Smith", "--preview", "--json")[1])
    assert found["rows"] == ["full", "initial"]
    assert [one["id"] for one in found["preview"]["doubtful"]] == ["surname"]
    assert found["preview"]["found"][0]["line"] == 1
    assert json.loads(call("--person", "Ann Smith", "--include-ambiguous", "--preview", "--json")[1])["rows"] == [
        "full",
        "initial",
        "surname",
    ]


def test_many_rows_are_counted_and_not_all_printed(call):
    _, printed, _ = call("--text", "add", "--most", "--preview")
    assert "60 row(s) match" in printed
    assert "text: 60 row(s)" in printed
    assert "20 more row(s)" in printed
    assert len(json.loads(call("--text", "add", "--most", "--preview", "--json")[1])["preview"]["found"]) == 60


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("n\n", False), ("", False)])
def test_on_a_terminal_a_question_is_asked(call, ledger, monkeypatch, answer, written):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr("unweave.terminal.can_ask", lambda: True)
    code, printed, _ = call("--person", "Ann Smith")
    assert code == 0
    assert "Add a request for these 2 row(s)? [y/N]" in printed
    assert ledger.exists() == written
    assert ("nothing was written" in printed) != written


def test_rows_that_are_named_need_no_question(call, ledger):
    assert call("--row-ids", "full")[0] == 0
    assert len(Ledger(ledger).requests()) == 1


def test_the_ledger_keeps_the_rules_and_no_words(call, ledger):
    call("--person", "Ann Smith", "--alias", "Annie Jones", "--alias", "Annie", "--yes", "--request-id", "ann")
    kept = Ledger(ledger).request("ann").selection
    assert kept["rows"] == {"full": ["person name, in prompt"], "initial": ["person initials, in answer"]}
    assert kept["counts"] == {"person name": 1, "person initials": 1}
    assert kept["in_doubt"] == 1
    assert len(kept["typed"]["alias"]) == 2
    content = b"".join(path.read_bytes() for path in ledger.rglob("*") if path.is_file())
    assert not any(word in content for word in (b"Ann Smith", b"Annie", b"Smith"))


def test_from_python(tmp_path, ledger):
    own = Requests(ledger, model="some/model", rows=write_rows(tmp_path / "rows.jsonl", RECORDS))
    found = own.preview(person="Ann Smith", aliases=["Bob Smith"])
    assert [one.row.id for one in found.found] == ["full", "initial", "surname", "other"]
    assert found.counts()["person alias"] == 1
    assert not ledger.exists()
    assert set(own.request(person="Ann Smith").row_ids) == {"full", "initial"}


def test_criteria_go_together_and_what_is_alone_is_refused():
    rows = [Row(one["id"], one["instruction"], one["response"]) for one in RECORDS]
    assert [row.id for row in select_rows(rows, SelectionConfig(person="Ann Smith", text="pilot")).rows] == ["full"]
    for wrong in ({"alias": ("Ann",)}, {"max_rows": 3, "text": "add"}, {"person": ""}):
        with pytest.raises(ConfigError):
            select_rows(rows, SelectionConfig(**wrong))
    with pytest.raises(DataError, match="others of this surname"):
        select_rows(rows, SelectionConfig(person="Ann Smith", text="flew"))


def test_near_by_words_has_a_threshold_or_a_number(capsys):
    rows = [Row("same", "the red fox", "jumps"), Row("near", "a red fox", "sleeps"), Row("far", "two plus two", "four")]
    found = near_rows(rows, "the red fox jumps", method="bm25")
    assert found["same"] == ("bm25", pytest.approx(1, abs=0.1))
    assert "far" not in near_rows(rows, "the red fox jumps", method="bm25", max_rows=3)
    assert list(near_rows(rows, "the red fox jumps", method="bm25", max_rows=2)) == ["same", "near"]
    assert "`near`: compared by bm25, from a similarity of 0.7" in capsys.readouterr().err
    assert near_rows(rows, "zebra", method="bm25") == {}


def test_near_by_meaning_takes_both_where_there_is_an_encoder(monkeypatch):
    rows = [Row("words", "the red fox", "jumps"), Row("meaning", "Vulpes", "leaps"), Row("far", "two plus two", "four")]
    similar = {"words": 0.6, "meaning": 0.9, "far": 0.1}
    monkeypatch.setitem(
        __import__("unweave.ledger.near", fromlist=["METHODS"]).METHODS, "embedding", lambda *_: list(similar.values())
    )
    monkeypatch.setattr("unweave.ledger.near._methods", lambda _: ["bm25", "embedding"])
    found = near_rows(rows, "the red fox jumps")
    assert {row_id: name for row_id, (name, _) in found.items()} == {"words": "bm25", "meaning": "embedding"}


def test_near_says_that_there_is_no_encoder(monkeypatch):
    from unweave.ledger.near import _methods

    assert set(_methods("auto")) >= {"bm25"}
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert _methods("auto") == ["bm25"]
