"""Text formats and compression: everything that people have is read, and what is broken is named with its place."""

import gzip
import io
import json
import os
import sys
import threading
from functools import partial

import pytest
import zstandard

from unweave.data.reading import read_rows
from unweave.data.sources import Records
from unweave.data.sources.opening import Input
from unweave.errors import DataError, UnweaveError

ROWS = [{"id": f"r{number}", "prompt": f"größe {number}", "completion": f"{number} 😀"} for number in range(3)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
TABLE = "id,prompt,completion\n" + "".join(f"{row['id']},{row['prompt']},{row['completion']}\n" for row in ROWS)
TEXTS = {
    "d.jsonl": LINES,
    "d.ndjson": LINES.replace("\n", "\r\n"),
    "d.json": json.dumps(ROWS, indent=2, ensure_ascii=False),
    "lines.json": LINES,
    "pretty.json": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "inner.json": json.dumps({"version": 1, "data": ROWS}),
    "d.csv": TABLE,
    "crlf.csv": TABLE.replace("\n", "\r\n"),
    "mac.csv": TABLE.replace("\n", "\r"),
    "semicolons.csv": TABLE.replace(",", ";"),
    "d.tsv": TABLE.replace(",", "\t"),
}
PACK = {"": bytes, ".gz": partial(gzip.compress, mtime=0), ".zst": zstandard.ZstdCompressor().compress}


def found(path, **options):
    return [(row.id, row.instruction, row.completion) for row in read_rows(path, **options)]


@pytest.mark.parametrize("end", PACK)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", TEXTS)
def test_every_format_in_every_encoding_and_packing_gives_the_same_rows(tmp_path, name, encoding, end):
    path = tmp_path / (name + end)
    path.write_bytes(PACK[end](TEXTS[name].encode(encoding)))
    assert found(path) == [(row["id"], row["prompt"], row["completion"]) for row in ROWS]


def test_what_packs_a_file_is_decided_by_its_content(tmp_path):
    (tmp_path / "d.jsonl").write_bytes(gzip.compress(LINES.encode()))
    (tmp_path / "e.jsonl.gz").write_text(LINES)
    assert found(tmp_path / "d.jsonl") == found(tmp_path / "e.jsonl.gz")


def test_several_frames_and_members_are_read_to_the_end(tmp_path):
    halves = LINES.encode()[:50], LINES.encode()[50:]
    (tmp_path / "d.jsonl.gz").write_bytes(b"".join(map(gzip.compress, halves)))
    (tmp_path / "d.jsonl.zst").write_bytes(b"".join(map(PACK[".zst"], halves)))
    assert len(found(tmp_path / "d.jsonl.gz")) == len(found(tmp_path / "d.jsonl.zst")) == 3


@pytest.mark.parametrize("end", [".gz", ".zst"])
@pytest.mark.parametrize("damage", [lambda packed: packed[: len(packed) // 2], lambda packed: packed[:40] + b"x" * 40])
def test_a_packed_file_that_is_cut_or_damaged_is_refused(tmp_path, end, damage):
    text = "".join(json.dumps({"prompt": os.urandom(40).hex(), "completion": "a"}) + "\n" for _ in range(3000))
    for name, content in (("d.jsonl", text), ("d.json", f"[{','.join(text.splitlines())}]")):
        path = tmp_path / (name + end)
        path.write_bytes(damage(PACK[end](content.encode())))
        with pytest.raises(DataError, match="cut or damaged") as raised:
            read_rows(path, on_bad_row="skip")
        assert str(path) in str(raised.value)
        assert "copy or download it again" in str(raised.value)


def test_keys_that_stand_twice_are_refused_unless_they_agree(tmp_path):
    lines = [
        '{"prompt": "a", "completion": "b", "completion": "c"}',
        '{"prompt": "a", "prompt": "a", "completion": "b"}',
        '{"messages": [{"role": "user", "role": "assistant", "content": "x"}]}',
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    (tmp_path / "d.json").write_text(f"[{', '.join(lines)}]")
    for name in ("d.jsonl", "d.json"):
        rows = read_rows(tmp_path / name, on_bad_row="skip")
        assert [row.line for row in rows] == [2]
        assert [problem.reason for problem in rows.problems] == [
            "the key 'completion' stands twice",
            "the key 'role' stands twice",
        ]


def test_numbers_that_json_does_not_have_are_missing(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(
        '{"prompt": "a", "completion": "b", "score": NaN, "worst": -Infinity, "huge": 1e999, "half": 0.5}\n'
    )
    assert dict(read_rows(path)[0].meta) == {"score": None, "worst": None, "huge": None, "half": 0.5}


def test_broken_lines_cost_no_others(tmp_path):
    path = tmp_path / "d.jsonl"
    deep, long = "[" * 100_000, "9" * 5000
    number = b'{"text": "x", "n": %s}' % long.encode()
    lines = [b'{"text": "good"}', b"{'text': 1}", b'{"text": "\xff"}', deep.encode(), number, b"[1]", b'{"text": "x"} more']  # fmt: skip
    path.write_bytes(b"\n".join(lines))
    rows = read_rows(path, on_bad_row="skip")
    assert [row.completion for row in rows] == ["good"]
    assert [problem.place for problem in rows.problems] == [f"{path}:{number}" for number in range(2, 8)]
    for problem, reason in zip(rows.problems, ("broken", "UTF-8", "deeply", "digits", "a JSON list", "more after"), strict=True):  # fmt: skip
        assert reason in problem.reason


def test_json_files_that_hold_no_rows_say_what_they_hold(tmp_path):
    path = tmp_path / "d.json"
    for content, message, remedy in (
        ('{"prompt": {"0": "a"}, "completion": {"0": "b"}}', "columns, not rows", 'orient="records"'),
        ('{"prompt": ["a", "b"], "completion": ["c", "d"]}', "columns, not rows", 'orient="records"'),
        ('{"train": [{"text": "a"}], "data": [{"text": "a"}]}', "several lists", "a file of its own"),
        ('[{"text": "a"},\n{"text": }]', "line 2, column 10", ".jsonl"),
        ('[{"text": "a"}\n{"text": "b"}]', "a comma", ".jsonl"),
        ('[{"text": "a"}] []', "more after the list", ".jsonl"),
        ('[{"text": "a"},', "Expecting value", ".jsonl"),
        ("no json", "Expecting value", ".jsonl"),
        ("", "no rows", "at least one row"),
        ("[]", "no rows", "at least one row"),
    ):
        path.write_text(content)
        with pytest.raises(UnweaveError, match=message) as raised:
            read_rows(path)
        assert str(path) in str(raised.value)
        assert remedy in str(raised.value)
    path.write_bytes(b'[{"text": "a"},\n{"text": "\xe4"}]')
    with pytest.raises(DataError, match="not UTF-8") as raised:
        read_rows(path)
    assert f"{path}:2" in str(raised.value)


def test_one_object_is_one_row(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    (tmp_path / "d.json").write_text(json.dumps({"messages": turns, "tags": ["x", "y"]}, indent=1))
    assert read_rows(tmp_path / "d.json")[0].completion == "a"


def test_cells_of_any_length_and_missing_cells(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('id,instruction,input,output,\n,say,,"' + "word " * 40_000 + '",7\nmine,say,it,short\n')
    first, second = read_rows(path)
    assert len(first.completion) == 200_000
    assert (first.context, first.id == "", dict(first.meta)) == ("", False, {"column 5": "7"})
    assert (second.id, second.context, dict(second.meta)) == ("mine", "it", {"column 5": None})


def test_broken_tables_are_named_by_line(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b'prompt,completion\n"two\nlines",a\nb,c,d\n\xe4,x\nq,good\nopen,"never\nclosed\n')
    rows = read_rows(path, on_bad_row="skip")
    assert [(row.line, row.completion) for row in rows] == [(2, "a"), (6, "good")]
    assert [(problem.place.rpartition(":")[2], problem.reason) for problem in rows.problems] == [
        ("4", "1 more fields than the header"),
        ("5", "not UTF-8"),
        ("7", "a quotation mark is opened and never closed; 1 more lines stand inside it"),
    ]
    for content, message in ((b"prompt,completion,prompt\na,b,c\n", "'prompt' stands twice"), (b"\xe4,b\n1,2\n", "header is not UTF-8")):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as raised:
            read_rows(path)
        assert f"{path}:1" in str(raised.value)


def test_utf_16_that_is_cut_is_refused(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(LINES.encode("utf-16")[:-1])
    with pytest.raises(DataError, match="not UTF-16 throughout") as raised:
        read_rows(path)
    assert str(path) in str(raised.value)


def test_a_table_in_utf_16_that_is_given_up_midway_leaves_no_error_behind(tmp_path):
    (tmp_path / "d.csv").write_bytes(TABLE.encode("utf-16"))
    records = iter(Records(tmp_path / "d.csv"))
    next(records)
    # What closing leaves behind reaches pytest as a warning, which is an error here.
    records.close()
    with pytest.raises(StopIteration):
        next(records)


def test_what_is_no_file_is_refused_or_read(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="Unknown file type"):
        read_rows("/dev/null")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    for name in ("loop.jsonl", "absent.csv.gz", "x" * 300 + ".jsonl"):
        with pytest.raises(DataError, match=r"not found|can't be read") as raised:
            read_rows(tmp_path / name)
        assert name in str(raised.value)
    (tmp_path / "d.jsonl").write_text(LINES)

    def denied(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", denied)
    with pytest.raises(DataError, match="Permission denied") as raised:
        read_rows(tmp_path / "d.jsonl")
    assert "that you may read it" in str(raised.value)


def test_a_pipe_is_read_once_and_its_rows_as_often_as_needed(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text(LINES))
    writer.start()
    records = Records(path)
    assert len(list(records)) == len(list(records)) == 3
    writer.join()
    assert next(iter(records)).source == str(path)


def test_a_pipe_without_a_writer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("unweave.data.sources.opening.PIPE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "d.jsonl")
    with pytest.raises(DataError, match="Nothing is written"):
        read_rows(tmp_path / "d.jsonl")


ANY_FORMAT = {
    "lines": LINES.encode(),
    "json": TEXTS["d.json"].encode(),
    "table": TABLE.encode(),
    "gzip": PACK[".gz"](LINES.encode()),
    "byte-order mark": ("\ufeff" + LINES).encode(),
}


@pytest.mark.parametrize("raw", ANY_FORMAT.values(), ids=ANY_FORMAT.keys())
def test_standard_input_is_a_source_of_any_format(monkeypatch, raw):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    assert found("-") == found("/dev/stdin") == [(row["id"], row["prompt"], row["completion"]) for row in ROWS]
    assert read_rows("-")[0].source == "standard input"


def test_a_terminal_is_not_waited_for(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    with pytest.raises(DataError, match="terminal"):
        Input(__import__("pathlib").Path("-")).open().__enter__()
