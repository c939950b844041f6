"""Columns that were named once serve again; a command line has its way; what unweave wrote has its own layout."""

import json
from dataclasses import replace

import pytest

from unweave import progress
from unweave.data.config import AS_WRITTEN, DataConfig, ReadingConfig, read_configured, read_own, stream_configured
from unweave.data.reading import Problem
from unweave.data.remembered import read_beside, read_remembering, remember_columns, remembered_columns
from unweave.data.training_rows import read_training_rows
from unweave.errors import DataError, UnweaveError
from unweave.train.config import TrainConfig

COLUMNS = {"instruction": "q", "completion": "a", "context": "c"}
PLAIN = ReadingConfig()


@pytest.fixture
def files(tmp_path):
    own = [{"id": f"r{number}", "q": f"Sum {number}", "a": str(number)} for number in range(4)]
    known = [{"id": row["id"], "prompt": row["q"], "completion": row["a"]} for row in own]
    for name, rows in (("own", [own[0] | {"c": "at once"}, *own[1:]]), ("some", own[1:2]), ("known", known)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_remembered_columns_serve_where_a_file_has_them(files):
    remember_columns(files, None)
    assert remembered_columns(files) == []
    remember_columns(files, {"instruction": "x", "completion": "y"})
    for _ in range(2):
        remember_columns(files, COLUMNS)
    remembered = remembered_columns(files)
    assert remembered == [COLUMNS, {"instruction": "x", "completion": "y"}]
    assert read_remembering(files / "some.jsonl", PLAIN, remembered)[0].completion == "1"
    assert read_remembering(files / "own.jsonl", PLAIN, remembered)[0].context == "at once"
    assert read_remembering(files / "known.jsonl", PLAIN, remembered)[1].instruction == "Sum 1"
    given = ReadingConfig(columns={"instruction": "a", "completion": "q"})
    assert read_remembering(files / "some.jsonl", given, remembered)[0].completion == "Sum 1"
    with pytest.raises(UnweaveError, match=r"[Nn]o known layout") as raised:
        read_remembering(files / "some.jsonl", PLAIN, [])
    assert "`columns`" in str(raised.value)


def test_a_file_beside_the_data_is_in_its_layout_or_a_known_one(files):
    config = ReadingConfig(columns=COLUMNS, limit=1)
    assert len(read_beside(files / "known.jsonl", config)) == len(read_beside(files / "own.jsonl", PLAIN, config)) == 4


def test_leaving_out_all_rows_is_said_as_that(files):
    config = DataConfig(columns=COLUMNS)
    assert len(read_training_rows(files / "own.jsonl", config, without=files / "some.jsonl")) == 3
    for all_rows in ("own", "known"):
        with pytest.raises(DataError, match="All rows are left out") as raised:
            read_training_rows(files / "own.jsonl", config, without=files / f"{all_rows}.jsonl")
        assert "max-length" not in str(raised.value)


def test_a_config_says_how_much_is_read_and_what_becomes_of_broken_rows(files):
    path = files / "own.jsonl"
    path.write_text(path.read_text() + "broken\n")
    skipping = ReadingConfig(columns=COLUMNS, on_bad_row="skip", limit=2)
    assert (len(read_configured(path, skipping)), len(read_configured(path, skipping, whole=True))) == (2, 4)
    assert len(list(stream_configured(path, skipping))) == 2
    streamed = list(stream_configured(path, replace(skipping, limit=None)))
    assert [isinstance(found, Problem) for found in streamed] == [False] * 4 + [True]
    with pytest.raises(DataError, match="can't be used") as raised:
        list(stream_configured(path, ReadingConfig(columns=COLUMNS)))
    assert f"{path}:5" in str(raised.value)


def test_what_unweave_wrote_has_none_of_the_originals_options(files):
    config = TrainConfig(data=files, output_dir=files, columns=COLUMNS, limit=1, split="test", on_bad_row="skip")
    written = replace(config, **AS_WRITTEN)
    assert (written.columns, written.limit, written.split, written.on_bad_row) == (None, None, None, "error")
    (files / "known.jsonl").write_text("broken\n")
    with pytest.raises(DataError) as raised:
        read_own(files / "known.jsonl")
    assert "--" not in str(raised.value)
    assert "known.jsonl:1" in str(raised.value)


def test_columns_that_are_not_used_are_told_once_a_source(files, capsys):
    path = files / "labelled.jsonl"
    path.write_text(
        '{"q": "Sum", "a": "4", "label": 3, "empty": null}\n{"q": "Add", "a": "5", "so\\u001brce": "web"}\n'
    )
    config = ReadingConfig(columns={"instruction": "q", "completion": "a"})
    told = f"{path}: not used: label, 'so\\x1brce'\n"
    read_training_rows(path, config)
    read_beside(path, config)
    assert capsys.readouterr().err == told
    # The next command tells it again, and so does one that holds no rows.
    progress.begin(quiet=False)
    list(stream_configured(path, config))
    assert capsys.readouterr().err == told
    for quiet, source in ((True, path), (False, files / "known.jsonl")):
        progress.begin(quiet=quiet)
        read_remembering(source, ReadingConfig(), [config.columns])
        assert capsys.readouterr().err == ""
