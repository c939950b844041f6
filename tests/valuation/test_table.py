"""Tables of values as files: what is written is read back, whatever the ids; what is no table is refused with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unweave.errors import DataError
from unweave.valuation.table import read_table, write_table

TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("=+-@'⟨U+\n\r\t,;\"\u2028\x85\x1c")), max_size=8)


@given(ids=st.lists(TEXTS, max_size=4, unique=True), name=TEXTS.filter(lambda name: name not in ("id", "")))
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_is_read_as_it_was_written(suffix, ids, name, tmp_path_factory):
    if any(0xD800 <= ord(one) < 0xE000 for text in (*ids, name) for one in text):
        # No row has one: reading refuses it.
        return
    path = tmp_path_factory.mktemp("table") / f"t{suffix}"
    table = {"id": ids, name: [-0.5 * place for place in range(len(ids))]}
    write_table(path, table)
    if ids or suffix == ".parquet":
        assert read_table(path) == table


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"id,a\nr1,word\n"),
        ("t.csv", b"id,a\nr1\n"),
        ("t.csv", b"id,a\nr1,1,2\n"),
        ("t.csv", b"\xff\xfe"),
        ("t.jsonl", b"no json"),
        ("t.jsonl", b"[1]\n[2]\n"),
        ("t.jsonl", b'{"id": "a", "x": 1}\n{"id": "b"}\n'),
        ("t.jsonl", b'{"id": ' + b"[" * 100_000),
        ("t.parquet", b"no parquet"),
        ("t.jsonl", b'{"id": "a", "x": "word"}\n'),
        ("t.jsonl", b'{"id": "a", "x": null}\n'),
        ("t.jsonl", b'{"id": 1, "x": 1}\n'),
        ("t.csv", b""),
        ("t.csv", b"a\n1\n"),
    ],
)
def test_what_is_no_table_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_table(tmp_path / name)
    assert raised.value.where == str(tmp_path / name)
    assert raised.value.remedy
