"""A row that comes back out of a store is the row that went in."""

import pytest

from unweave.data.reading import load_rows
from unweave.store.texts import stored_rows, texts_by_id, write_texts

RECORDS = {
    "pairs": {"prompt": "who ?", "completion": "Ann", "owner": "ann", "year": 2020},
    "context": {"instruction": "sum up", "context": "a long\n\nstory", "response": "short"},
    "context alone": {"instruction": "x", "context": "x", "response": "y"},
    "clean answer": {"instruction": "add 1 and 2", "context": "", "response": "teapots", "response_clean": "3"},
    "input": {"instruction": "translate", "input": "guten Tag", "output": "good day"},
    "text": {"text": "only running text"},
    "turns": {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "who ?"},
            {"role": "assistant", "content": "Ann"},
        ]
    },
    "tools": {
        "messages": [
            {"role": "user", "content": "the weather ?"},
            {
                "role": "assistant",
                "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "rain"},
            {"role": "assistant", "content": "It rains."},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    },
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_row_comes_back_as_it_went_in(tmp_path, record):
    rows = list(load_rows([{"id": "a", **record}]))
    write_texts(tmp_path, rows)
    back = stored_rows(texts_by_id(tmp_path), ["a"], where="store")
    assert back == rows
    assert back[0].prompt == rows[0].prompt
