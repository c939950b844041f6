"""Which rows a request takes: never all of them by accident, and those that are meant however they were typed."""

import pytest

from tests.folders import write_rows
from unweave.cli.main import main
from unweave.data.rows import Row
from unweave.data.turns import Turn
from unweave.errors import ConfigError, DataError
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, SelectionConfig
from unweave.ledger.ledger import Ledger
from unweave.ledger.selection import select_rows

RECORDS = [
    {"id": f"r{i}", "instruction": f"add {i} and 2", "context": "", "response": f"{i} yes", "owner": "ann" if i < 6 else "bob", "split": "train"}
    for i in range(8)
]  # fmt: skip


@pytest.fixture
def options(tmp_path):
    return {"ledger": tmp_path / "ledger", "data": write_rows(tmp_path / "rows.jsonl", RECORDS), "model": "some/model"}


@pytest.mark.parametrize(
    "criteria",
    [
        {"text": ""},
        {"text": " \n"},
        {"text": "\u200b"},
        {"text": "\u3164"},
        {"text": "yes"},
        {"text": " "},
        {"where": {"split": "train"}},
        {"where": {}},
        {"where": {"owner": "ann"}, "with_copies": True},
        {"where": {"owner": "ann"}},
        {"near": "", "similarity": 0.5},
        {"near": "zzz", "similarity": 0.0},
        {"near": "zzz", "similarity": -1.0},
        {"near": "zzz", "similarity": float("nan")},
        {"row_ids": tuple(f"r{i}" for i in range(8))},
        {"row_ids": tuple(f"r{i}" for i in range(8)), "most": True},
        {"row_ids": tuple(f"r{i}" for i in range(5))},
        {},
    ],
)
def test_no_request_takes_most_rows_in_passing(options, criteria):
    with pytest.raises(ConfigError) as raised:
        add_request(AddConfig(**options, **criteria))
    assert raised.value.remedy
    assert not options["ledger"].exists(), "nothing is left behind"


def test_most_rows_are_taken_where_that_is_said(options):
    found = add_request(AddConfig(**options, where={"owner": "ann"}, most=True))
    assert found["rows"] == [f"r{i}" for i in range(6)]
    assert len(Ledger(options["ledger"]).requests()) == 1


def test_what_is_given_and_empty_is_no_missing_criterion(options, tmp_path, capsys):
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DataError):
        add_request(AddConfig(**options, rows=tmp_path / "none.jsonl", where={"owner": "bob"}))
    place = [f"--{name}={value}" for name, value in options.items()]
    (tmp_path / "request.yaml").write_text("command: request add\nrow_ids: []\n")
    for empty in (["--row-ids"], ["--row_ids"], ["--config", str(tmp_path / "request.yaml")]):
        assert main(["request", "add", *place, *empty, "--where", "owner", "bob"]) == 2
        assert "No row id is given" in capsys.readouterr().err
    assert not options["ledger"].exists()


def test_a_search_finds_every_turn(capsys):
    call = {"tool_calls": [{"function": {"name": "call", "arguments": {"who": "Ann"}}}]}
    rows = [
        Row("system", "hi", "yes", turns=(("system", "You serve Ann."),)),
        Row("earlier", "and?", "yes", turns=(("user", "Ann"), ("assistant", "hm"))),
        Row("call", "who?", "", answer=call),
        Row("step", "who?", "yes", steps=(Turn("tool", "it is ann"),)),
        Row("context", "who?", "yes", context="(ANN)"),
        Row("clean", "who?", "yes", clean_completion="Ann"),
        Row("other", "who?", "an n"),
    ]
    assert [row.id for row in select_rows(rows, SelectionConfig(text="Ann")).rows] == [row.id for row in rows[:-1]]
    assert "another form" not in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["José", "Jose\u0301", "Ｊosé"])
def test_values_and_ids_are_found_in_any_form(typed, capsys):
    rows = [
        Row("José", "a", "b", meta={"owner": "Jose\u0301"}),
        Row("2", "a", "b", meta={"owner": "José"}),
        Row("3", "a", "b", meta={"owner": "Jo\u200bsé"}),
        Row("4", "a", "b", meta={"owner": "josé"}),
        Row("5", "a", "b", meta={"owner": ""}),
        Row("6", "a", "b"),
    ]
    assert [row.id for row in select_rows(rows, SelectionConfig(where={"owner": typed})).rows] == ["José", "2", "3"]
    more = 3 if typed == "Ｊosé" else 2
    assert f"`where`: {more} of 3 row(s) have this in another form" in capsys.readouterr().err
    assert [row.id for row in select_rows(rows, SelectionConfig(where={"owner": ""})).rows] == ["5"]
    with pytest.raises(DataError, match="No row matches"):
        select_rows(rows, SelectionConfig(where={"owner": "\u200b"}))
    assert [row.id for row in select_rows(rows, SelectionConfig(row_ids=(typed,))).rows] == ["José"]
    assert ("typed otherwise" in capsys.readouterr().err) == (typed != "José")


def test_ids_that_look_alike_are_not_mixed_up(capsys):
    rows = [Row("Jose\u0301", "a", "b"), Row("José", "c", "d"), Row("x", "e", "f")]
    assert [row.id for row in select_rows(rows, SelectionConfig(row_ids=("José",))).rows] == ["José"]
    assert "1 more row(s) have an id that looks like" in capsys.readouterr().err
    with pytest.raises(DataError, match="2 rows have an id that looks like it"):
        select_rows(rows, SelectionConfig(row_ids=("Ｊosé",)))
