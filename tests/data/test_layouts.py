"""Layouts: each is recognised over the file, says what it does not use, and comes back from its own records as it was."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unweave.data.layouts import LAYOUTS, reserved_columns
from unweave.data.reading import read_rows
from unweave.data.rows import Row, content_id
from unweave.data.turns import OTHER_COLUMNS, Turn
from unweave.errors import ConfigError, DataError

CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Lima"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def read(tmp_path):
    """Rows of records, by way of a file."""

    def reader(*records, **options):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return read_rows(path, **options)

    return reader


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


SHAPES = {
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        Row("", "q", "a"),
    ),
    "ShareGPT with a system text": (
        {"system": "s", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        Row("", "q", "a", turns=(("system", "s"),)),
    ),
    "ShareGPT with its own system turn": (
        {
            "conversations": [
                {"from": "system", "value": "s"},
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": "a"},
            ]
        },
        Row("", "q", "a", turns=(("system", "s"),)),
    ),
    "ShareGPT with calls": (
        {
            "tools": json.dumps([TOOL]),
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": json.dumps(CALL["function"])},
                {"from": "observation", "value": "sun"},
                {"from": "gpt", "value": "a"},
            ],
        },
        Row(
            "",
            "q",
            "a",
            steps=(
                Turn("assistant", json.dumps(CALL["function"]), {"tool_calls": [CALL], "content": None}),
                Turn("tool", "sun"),
            ),
            tools=(TOOL,),
        ),
    ),
    "TRL conversational": (
        {"prompt": [user("x"), assistant("y"), user("q")], "completion": [assistant("a")]},
        Row("", "q", "a", turns=(Turn("user", "x"), Turn("assistant", "y", {"weight": 0}))),
    ),
    "TRL preference": ({"prompt": "q", "chosen": "a", "rejected": "b"}, Row("", "q", "a", meta={"rejected": "b"})),
    "TRL preference in messages": (
        {"prompt": [user("q")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
        Row("", "q", "a", meta={"rejected": [assistant("b")]}),
    ),
    "TRL preference with the prompt inside": (
        {"chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
        Row("", "q", "a", meta={"rejected": [user("q"), assistant("b")]}),
    ),
    "TRL preference with the prompt inside and beside": (
        {"prompt": "q", "chosen": [user("q"), assistant("a")], "rejected": [user("q"), assistant("b")]},
        Row("", "q", "a", meta={"rejected": [user("q"), assistant("b")]}),
    ),
    "TRL preference in text": (
        {"chosen": "Human: q Assistant: a", "rejected": "Human: q Assistant: b"},
        Row("", "Human: q Assistant:", " a", meta={"rejected": "Human: q Assistant: b"}),
    ),
    "Alpaca with history": (
        {"instruction": "q", "input": "c", "output": "a", "system": "s", "history": [["x", "y"]]},
        Row("", "q", "a", context="c", turns=(("system", "s"), ("user", "x"), ("assistant", "y"))),
    ),
    "parts": (
        {
            "messages": [
                user([{"type": "text", "text": "q"}, {"type": "text", "text": "?"}]),
                assistant([{"type": "text", "text": "a"}]),
            ]
        },
        Row("", "q?", "a"),
    ),
    "tools": (
        {
            "messages": [
                user("q"),
                assistant(None, tool_calls=[{"id": "1", **CALL}]),
                {"role": "tool", "content": "sun", "tool_call_id": "1"},
                assistant("a"),
            ],
            "tools": [TOOL],
        },
        Row(
            "",
            "q",
            "a",
            steps=(
                Turn(
                    "assistant",
                    json.dumps(CALL["function"]),
                    {"tool_calls": [{"id": "1", **CALL}], "content": None},
                ),
                Turn("tool", "sun", {"tool_call_id": "1"}),
            ),
            tools=(TOOL,),
        ),
    ),
    "arguments as text": (
        {
            "messages": [
                user("q"),
                assistant(
                    "a", tool_calls=[{"type": "function", "function": {"name": "weather", "arguments": '{"place": 1}'}}]
                ),
            ]
        },
        Row(
            "",
            "q",
            "a",
            answer={"tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"place": 1}}}]},
        ),
    ),
    "weights": (
        {"messages": [user("x"), assistant("y", weight=0), user("q"), assistant("a", weight=1)]},
        Row("", "q", "a", turns=(Turn("user", "x"), Turn("assistant", "y", {"weight": 0}))),
    ),
    "text/labels": ({"text": "q", "labels": "a"}, Row("", "q", "a")),
    "query/response": ({"query": "q", "response": "a"}, Row("", "q", "a")),
    "input/output": ({"input": "q", "output": "a"}, Row("", "q", "a")),
    "question/response under a system text": (
        {"system_prompt": "s", "question": "q", "response": "a"},
        Row("", "q", "a", turns=(Turn("system", "s"),)),
    ),
    "inputs/targets": ({"inputs": "q", "targets": "a"}, Row("", "q", "a")),
    "user/assistant": ({"system": "s", "user": "q", "assistant": "a"}, Row("", "q", "a", turns=(Turn("system", "s"),))),
    "Dolly with an input": ({"instruction": "q", "input": "c", "response": "a"}, Row("", "q", "a", context="c")),
    "preference after an instruction": (
        {"instruction": "q", "input": "c", "chosen": "a", "rejected": "b", "history": [["x", "y"]]},
        Row("", "q", "a", context="c", turns=(Turn("user", "x"), Turn("assistant", "y")), meta={"rejected": "b"}),
    ),
    "preference after a question": (
        {"system": "s", "question": "q", "chosen": "a", "rejected": "b"},
        Row("", "q", "a", turns=(Turn("system", "s"),), meta={"rejected": "b"}),
    ),
    "preference after conversations": (
        {
            "conversations": [
                {"from": "human", "value": "x"},
                {"from": "gpt", "value": "y"},
                {"from": "human", "value": "q"},
            ],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        Row(
            "",
            "q",
            "a",
            turns=(Turn("user", "x"), Turn("assistant", "y", {"weight": 0})),
            meta={"rejected": {"from": "gpt", "value": "b"}},
        ),
    ),
    "question/answer with a context": (
        {"question": "q", "context": "c", "answer": "a"},
        Row("", "q", "a", context="c"),
    ),
}


def same(row, expected):
    names = ("instruction", "context", "turns", "steps", "completion", "answer", "tools", "meta", "clean_completion")
    return {name: getattr(row, name) for name in names} == {name: getattr(expected, name) for name in names}


@pytest.mark.parametrize("name", SHAPES)
def test_each_layout_says_what_its_trainer_would_read(read, name):
    record, expected = SHAPES[name]
    row = read(record)[0]
    assert same(row, expected), row
    assert row.unused == tuple(expected.meta)


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_is_read_back(read, name):
    row = read({**SHAPES[name][0], "id": "mine"})[0]
    again = read(json.loads(json.dumps(row.to_record())))[0]
    assert (again.id, again.user_text, again.meta) == (row.id, row.user_text, row.meta)
    assert again.conversation == row.conversation
    assert again.tools == row.tools


def test_ids_of_plain_pairs_are_those_of_their_content(read):
    pair = content_id("q", "", (), "a")
    assert pair == "2f0e3d7b9cfb8fb0"  # as in all versions: stores and ledgers hold such ids
    for record in (
        {"prompt": "q", "completion": "a"},
        {"messages": [user("q"), assistant("a")]},
        SHAPES["ShareGPT"][0],
        {"prompt": [user("q")], "completion": [assistant("a", weight=1)]},
    ):
        assert read(record)[0].id == pair
    ids = [read(record)[0].id for record, _ in SHAPES.values()]
    assert ids.count(pair) == sum(
        expected.is_simple and expected.user_text == "q" and expected.completion == "a"
        for _, expected in SHAPES.values()
    )


def test_the_layout_is_that_of_the_file(read):
    rows = read({"instruction": "x", "output": "y"}, {"instruction": "q", "input": "c", "output": "a"})
    assert [row.context for row in rows] == ["", "c"]
    # A row of pairs that lacks its answer is broken: it is not plain text whose question is learned.
    with pytest.raises(DataError, match="'labels' is missing"):
        read({"text": "q", "labels": None}, {"text": "q", "labels": "a"})
    assert [row.user_text for row in read({"text": "q", "labels": 3}, {"text": "q", "labels": 4})] == ["", ""]


def test_a_mixed_file_is_told_apart_row_by_row(read):
    rows = read(
        {"messages": [user("q"), assistant("a")]},
        {"prompt": "x", "completion": "y"},
        {"text": "plain"},
    )
    assert [(row.user_text, row.completion) for row in rows] == [("q", "a"), ("x", "y"), ("", "plain")]
    assert rows.layouts == {"messages": 1, "prompt/completion": 1, "text": 1}


def test_null_and_nan_are_missing(read):
    row = read({"instruction": "q", "input": None, "output": "a", "system": float("nan"), "id": None, "extra": None})[0]
    assert (row.context, row.turns, row.unused) == ("", (), ())
    assert row.id == content_id("q", "", (), "a")
    with pytest.raises(DataError, match="'output' is missing"):
        read({"instruction": "q", "output": float("nan")}, {"instruction": "q", "output": "a"})


def test_columns_that_are_not_used_are_named_once(read):
    rows = read({"prompt": "q", "completion": "a", "label": 3}, {"prompt": "x", "completion": "y", "label": 4, "k": ""})
    assert rows.unused == ("label",)
    assert rows[0].meta == {"label": 3}
    assert read({"messages": [{**user("q"), "at": 3}, assistant("a")]}).unused == ("messages[].at",)


def test_what_could_mean_two_things_is_refused(read):
    with pytest.raises(ConfigError, match="No known layout") as raised:
        read({"query": "q", "response": "a", "solution": "b"})
    assert "`columns`" in str(raised.value)
    row = read(
        {"query": "q", "response": "a", "solution": "b"}, columns={"instruction": "query", "completion": "solution"}
    )[0]
    assert (row.completion, row.unused) == ("b", ("response",))


def test_columns_that_contradict_each_other_are_refused(read):
    with pytest.raises(DataError, match="'system' and 'system_prompt' differ"):
        read({"system": "s", "system_prompt": "t", "question": "q", "answer": "a"})
    assert read({"system": "s", "system_prompt": "s", "question": "q", "answer": "a"})[0].system_text == "s"
    with pytest.raises(DataError, match="both 'context' and 'input'"):
        read({"instruction": "q", "context": "c", "input": "d", "response": "a"})
    # Names that say who wrote a row are no prompt.
    row = read({"query": "q", "response": "a", "user": "ann"})[0]
    assert (row.user_text, row.unused) == ("q", ("user",))
    row = read({"prompt": "q", "instruction": "z", "chosen": "a", "rejected": "b"})[0]
    assert (row.user_text, row.unused) == ("q", ("instruction", "rejected"))


def test_columns_may_map_conversations_and_what_is_around_a_question(read):
    talk = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert read({"talk": talk}, columns={"messages": "talk"})[0].user_text == "q"
    row = read(
        {"ask": "q", "say": "a", "rule": "s", "past": [["x", "y"]]},
        columns={"instruction": "ask", "completion": "say", "system": "rule", "history": "past"},
    )[0]
    assert row.turns == (("system", "s"), ("user", "x"), ("assistant", "y"))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"messages": []}, "not a list of messages"),
        ({"messages": [user("q")]}, "end with an assistant turn"),
        ({"messages": [assistant("a")]}, "must hold a user turn"),
        ({"messages": [user("q"), assistant(None)]}, "neither a text 'content' nor tool calls"),
        ({"messages": [user([{"type": "image_url"}]), assistant("a")]}, "of type 'image_url'"),
        ({"messages": [user("q"), assistant("a", weight=0)]}, "no answer"),
        ({"messages": [user("q"), assistant("a", weight=0.5)]}, "0 or 1"),
        ({"messages": [user("q"), assistant(None, tool_calls=[{"function": {}}])]}, "no name"),
        (
            {"messages": [user("q"), assistant(None, tool_calls=[{"function": {"name": "f", "arguments": "{"}}])]},
            "not valid JSON",
        ),
        ({"messages": [user("q"), assistant("a")], "tools": ["f"]}, "'tools'"),
        ({"instruction": "q", "output": "a", "history": [["x"]]}, "'history'"),
        ({"system": "s", "conversations": [{"from": "system", "value": "t"}, user("q"), assistant("a")]}, "differ"),
        ({"chosen": "a", "rejected": "b"}, "'prompt' is missing"),
        ({"prompt": "smile \ud83d", "completion": "x"}, "column 'prompt' holds half of a character"),
        ({"prompt": "q", "completion": "x", "note": {"deep": ["\udc00"]}}, "column 'note'"),
    ],
)
def test_broken_rows_say_why_and_can_be_left_out(read, record, reason):
    with pytest.raises(DataError, match=reason) as raised:
        read(record)
    assert "rows.jsonl:1: " in str(raised.value)
    rows = read(record, {"prompt": "q", "completion": "a", "id": "good"}, on_bad_row="skip")
    assert [row.id for row in rows] == ["good"]
    assert [problem.action for problem in rows.problems] == ["dropped"]


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
TURNS = st.lists(
    st.one_of(
        st.builds(lambda text: [Turn("user", text)], TEXTS),
        st.builds(lambda text, weight: [Turn("assistant", text, weight)], TEXTS, st.sampled_from([{}, {"weight": 0}])),
        st.builds(lambda text: [Turn("tool", text, {"tool_call_id": "1"})], TEXTS),
    ),
    max_size=3,
).map(lambda lists: tuple(turn for some in lists for turn in some))
META = st.dictionaries(
    st.one_of(st.sampled_from(sorted(reserved_columns() - {"id", OTHER_COLUMNS})), st.text(min_size=1, max_size=3)),
    st.one_of(st.integers(), TEXTS, st.just([["x", "y"]])),
    max_size=4,
).filter(lambda meta: all(key.encode("utf-8", "ignore").decode() == key for key in meta))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    instruction=TEXTS,
    completion=TEXTS,
    context=st.one_of(st.just(""), TEXTS),
    turns=TURNS,
    steps=TURNS.map(lambda turns: tuple(turn for turn in turns if turn.role != "user")),
    tools=st.sampled_from([(), (TOOL,)]),
    meta=META,
    clean=st.one_of(st.none(), TEXTS),
)
def test_any_row_comes_back_whatever_its_other_columns_are_called(
    tmp_path, instruction, completion, context, turns, steps, tools, meta, clean
):
    row = Row(
        "r", instruction, completion, context, turns, clean, {k: v for k, v in meta.items() if k != "id"}, steps=steps, tools=tools
    )  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row.to_record()) + "\n", encoding="utf-8")
    again = read_rows(path)[0]
    assert again.conversation == row.conversation
    assert (again.id, again.tools, again.meta, again.clean_completion) == (row.id, row.tools, row.meta, clean)


def test_a_layout_knows_the_columns_that_it_is_known_by():
    assert all(layout.columns >= set(layout.kept) for layout in LAYOUTS.values())
