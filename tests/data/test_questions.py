"""Questions to trace, whose answers may be missing: in every layout, under mapped columns, from a file or standard input."""

import io
import sys
from pathlib import Path

import pytest

from tests.folders import write_rows
from unweave.data.config import ReadingConfig
from unweave.data.questions import read_questions
from unweave.errors import UnweaveError

TALK = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
ANSWER = {"role": "assistant", "content": "a"}
MAPPED = {"instruction": "ask", "completion": "reply"}


def read(path, records, *, remembered=(), **options):
    return read_questions(write_rows(path / "q.jsonl", records), ReadingConfig(**options), remembered)


@pytest.mark.parametrize(
    "record",
    [
        {"messages": TALK},
        {"conversations": [{"from": "human", "value": "q"}]},
        {"prompt": "q"},
        {"prompt": TALK},
        {"question": "q", "answer": None},
        {"question": "q", "context": "c"},
        {"instruction": "q", "input": "c", "output": ""},
        {"instruction": "q", "response": ""},
        {"query": "q"},
        {"text": "q", "labels": ""},
    ],
    ids=str,
)
def test_an_answer_may_be_missing_in_every_layout(tmp_path, record):
    (row,) = read(tmp_path, [record])
    assert (row.instruction, row.completion) == ("q", "")
    assert row.context == ("c" if "c" in record.values() else "")
    assert row.unused == ()


def test_questions_stand_beside_rows_with_answers(tmp_path):
    whole = [{"prompt": "q", "completion": "a"}, {"messages": [*TALK, ANSWER]}, {"text": "running"}]
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}], "content": None}
    after_tool = {"messages": [*TALK, ANSWER, TALK[1], call, {"role": "tool", "content": "4"}]}
    rows = read(tmp_path, [*whole, {"prompt": "x", "completion": None}, after_tool])
    assert [row.completion for row in rows] == ["a", "a", "running", "", ""]
    assert [turn.role for turn in rows[4].steps] == ["assistant", "tool"]
    assert len({row.id for row in rows}) == 5
    with pytest.raises(UnweaveError, match=r"q\.jsonl:2"):
        read(tmp_path, [{"prompt": "q"}, {"prompt": ""}])


def test_mapped_columns_may_lack_the_answer(tmp_path):
    records = [{"ask": "q"}, {"ask": "r", "reply": "b"}]
    for options in ({"columns": MAPPED}, {"remembered": [MAPPED]}):
        assert [(row.instruction, row.completion) for row in read(tmp_path, records, **options)] == [
            ("q", ""),
            ("r", "b"),
        ]
        assert [row.completion for row in read(tmp_path, records[:1], **options)] == [""]
    talk = {"messages": "turns"}
    assert read(tmp_path, [{"turns": TALK}], remembered=[talk])[0].instruction == "q"
    # Remembered columns do not speak for a file in a layout of its own.
    known = [{"ask": "no", "prompt": "q", "completion": "a"}]
    assert read(tmp_path, known, remembered=[MAPPED])[0].completion == "a"


def test_questions_come_from_standard_input(monkeypatch):
    for remembered in ([], [MAPPED]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "q"}\n{"prompt": "r"}\n')))
        rows = read_questions(Path("-"), ReadingConfig(), remembered)
        assert [(row.instruction, row.completion) for row in rows] == [("q", ""), ("r", "")]
