"""Parquet, data sets of Hugging Face, folders of shards, and rows in memory."""

import datetime
import decimal
import gzip
import json
import uuid

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from unweave import progress
from unweave.data.reading import read_rows
from unweave.data.sources import Reading, Records
from unweave.data.sources.plain import plain
from unweave.errors import ConfigError, DataError, MissingExtraError

ROWS = [{"prompt": f"q{number}", "completion": f"a{number}"} for number in range(6)]


def answers(source, **options):
    return [row.completion for row in read_rows(source, **options)]


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_columns_of_any_type_become_values_that_json_holds(tmp_path):
    moment = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
    columns = {
        "prompt": pa.array(["q"]),
        "completion": pa.array([decimal.Decimal("1.50")]),
        "day": pa.array([moment.date()]),
        "moment": pa.array([moment], pa.timestamp("us", "UTC")),
        "fine": pa.array([1], pa.timestamp("ns")),
        "early": pa.array([-(10**11)], pa.timestamp("s")),
        "time": pa.array([moment.time()]),
        "took": pa.array([datetime.timedelta(seconds=90)]),
        "text": pa.array(["größe".encode()]),
        "image": pa.array([b"\xff\xd8" * 200]),
        "key": pa.array([b"\xff\x00"]),
        "nested": pa.array([{"when": moment, "list": [b"\xff", None], "nan": float("nan")}]),
        "pairs": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "kind": pa.array(["x"]).dictionary_encode(),
        "nothing": pa.nulls(1),
    }
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    row = read_rows(tmp_path / "d.parquet")[0]
    meta = json.loads(json.dumps(dict(row.meta), allow_nan=False))
    assert row.completion == "1.50"
    assert meta["day"] == "2024-02-29"
    assert meta["moment"] == "2024-02-29T12:30:00+00:00"
    assert "1970-01-01" in meta["fine"]
    assert isinstance(meta["early"], str)
    assert (meta["time"], meta["took"], meta["text"], meta["kind"]) == ("12:30:00", "0:01:30", "größe", "x")
    assert meta["image"]["bytes"] == 400
    assert meta["key"] == {"base64": "/wA="}
    assert meta["nested"] == {"when": "2024-02-29T12:30:00+00:00", "list": [{"base64": "/w=="}, None], "nan": None}
    assert meta["pairs"] == [["a", 1]]
    assert meta["nothing"] is None


def test_values_of_programs_become_plain():
    values = [np.float32(0.5), np.int64(3), np.array([[1, 2]]), np.str_("x"), np.bool_(True), pd.NaT, pd.NA, (1, {2}), uuid.UUID(int=1)]  # fmt: skip
    values += [decimal.Decimal("NaN"), object()]
    assert plain(values) == [0.5, 3, [[1, 2]], "x", True, None, None, [1, [2]], str(uuid.UUID(int=1)), None, "<object>"]
    assert type(plain(np.str_("x"))) is str


def test_bytes_that_are_no_text_are_never_an_answer(tmp_path):
    pq.write_table(pa.table({"text": pa.array([b"\xff\xfe", b"good"])}), tmp_path / "d.parquet")
    rows = read_rows(tmp_path / "d.parquet", on_bad_row="skip")
    assert [row.completion for row in rows] == ["good"]


def test_parquet_that_is_cut_damaged_or_ambiguous_is_refused(tmp_path):
    path = tmp_path / "d.parquet"
    parquet(path, [{"text": str(number) * 100} for number in range(500)])
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:200] + b"\x00" * 400 + whole[600:], b"PAR1PAR1"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="Parquet file can't be read") as raised:
            read_rows(path)
        assert str(path) in str(raised.value)
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(DataError, match="'text' stands twice"):
        read_rows(path)


def test_packed_parquet_is_unpacked(tmp_path):
    parquet(tmp_path / "d.parquet", ROWS)
    raw = (tmp_path / "d.parquet").read_bytes()
    (tmp_path / "e.parquet.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "e.parquet.zst").write_bytes(zstandard.ZstdCompressor().compress(raw))
    assert answers(tmp_path / "e.parquet.gz") == answers(tmp_path / "e.parquet.zst") == answers(tmp_path / "d.parquet")


def test_shards_are_read_in_the_order_of_their_names(tmp_path):
    for number in (2, 0, 1):
        jsonl(tmp_path / "data" / f"part-{number:05d}.jsonl", ROWS[2 * number : 2 * number + 2])
    jsonl(tmp_path / "data" / ".hidden.jsonl", ROWS)
    (tmp_path / "data" / "_SUCCESS").touch()
    (tmp_path / "data" / "README.md").write_text("a card")
    every = [row["completion"] for row in ROWS]
    assert answers(tmp_path / "data") == answers(tmp_path) == answers(str(tmp_path / "data" / "*.jsonl")) == every
    assert answers(tmp_path / "data" / "part-0000[12].jsonl") == every[2:]
    rows = read_rows(tmp_path / "data").rows
    assert rows[3].place == f"{tmp_path}/data/part-00001.jsonl:2"
    (tmp_path / "data" / "part-00001.jsonl").write_text('{"prompt": "q"}\n{')
    with pytest.raises(DataError) as raised:
        read_rows(tmp_path)
    assert f"{tmp_path}/data/part-00001.jsonl:1" in str(raised.value)
    assert f"{tmp_path}/data/part-00001.jsonl:2" in str(raised.value)


def test_a_folder_named_as_a_file_is_a_folder(tmp_path):
    parquet(tmp_path / "rows.parquet" / "part-0.parquet", ROWS)
    assert len(answers(tmp_path / "rows.parquet")) == 6
    (tmp_path / "empty.jsonl").mkdir()
    with pytest.raises(DataError, match="no files of rows") as raised:
        read_rows(tmp_path / "empty.jsonl")
    assert "empty.jsonl" in str(raised.value)


def test_a_folder_is_cut_into_splits_by_names(tmp_path):
    parquet(tmp_path / "train-00001-of-00002.parquet", ROWS[2:4])
    parquet(tmp_path / "train-00000-of-00002.parquet", ROWS[:2])
    parquet(tmp_path / "test-00000-of-00001.parquet", ROWS[4:])
    assert answers(tmp_path) == ["a0", "a1", "a2", "a3"]
    assert answers(tmp_path, split="test") == ["a4", "a5"]
    with pytest.raises(DataError, match="no split 'validation'") as raised:
        read_rows(tmp_path, split="validation")
    assert "`split` test or train" in str(raised.value)
    jsonl(tmp_path / "plain" / "rows.jsonl", ROWS)
    with pytest.raises(DataError, match="'test' was asked for"):
        read_rows(tmp_path / "plain", split="test")


def test_a_folder_of_several_formats_is_not_read_twice(tmp_path):
    jsonl(tmp_path / "d.jsonl", ROWS)
    parquet(tmp_path / "d.parquet", ROWS)
    with pytest.raises(DataError, match=r"several formats: \.jsonl, \.parquet") as raised:
        read_rows(tmp_path)
    assert answers(str(raised.value).partition("such as '")[2].partition("'")[0]) == [row["completion"] for row in ROWS]
    with pytest.raises(DataError, match="No file matches"):
        read_rows(tmp_path / "*.csv")


def test_a_saved_data_set_with_only_a_test_split_says_so(tmp_path):
    datasets.DatasetDict(test=datasets.Dataset.from_list(ROWS)).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="no split 'train'") as raised:
        read_rows(tmp_path / "saved")
    assert "`split` with one of: test" in str(raised.value)
    assert len(answers(tmp_path / "saved", split="test")) == 6


def test_an_option_that_a_source_has_nothing_for_is_told(tmp_path, capsys):
    every = {"split": "test", "subset": "small", "data_revision": "main"}
    jsonl(tmp_path / "rows.jsonl", ROWS)
    for split in ("train", "test"):
        jsonl(tmp_path / "folder" / f"{split}.jsonl", ROWS)
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "splits")
    named = datasets.Dataset.from_list(ROWS, split="test")
    for source, idle in (
        (tmp_path / "rows.jsonl", every),
        (str(tmp_path / "*.jsonl"), every),
        (tmp_path / "saved", every),
        (ROWS, every),
        (tmp_path / "folder", ("subset", "data_revision")),
        (tmp_path / "splits", ("subset", "data_revision")),
        (named, ("subset", "data_revision")),
    ):
        progress.begin(quiet=False)
        assert len(answers(source)) == 6
        assert "has no effect" not in capsys.readouterr().err
        for _ in range(2):
            assert len(answers(source, **every)) == 6
        told = [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines() if "has no effect" in line]
        expected = [f"`{name}` {every[name]} has no effect" for name in idle]
        assert sorted(line.partition(" on it")[0] for line in told) == sorted(expected), source


@pytest.fixture
def hub(monkeypatch):
    """The hub: `owner/name` has the subsets `small` and `large`, each with the split `test`."""
    calls = []
    data = datasets.Dataset.from_list(ROWS)

    def load_dataset(name, subset=None, *, split, revision, streaming, trust_remote_code):
        assert trust_remote_code is False
        calls.append((name, subset, split, revision, streaming))
        if name not in ("owner/name", "imdb"):
            raise ConnectionError(f"Couldn't reach '{name}' on the Hub")
        if subset not in ("small", "large"):
            raise ValueError(f"BuilderConfig '{subset}' not found")
        if split != "test":
            raise ValueError(f"Unknown split \"{split}\". Should be one of ['test'].")
        return data.to_iterable_dataset() if streaming else data

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda *_, **__: ["small", "large"])
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *_, **__: ["test"])
    return calls


def test_ids_of_the_hub_with_subset_and_revision(hub):
    assert len(answers("owner/name:small@v1.0", split="test")) == 6
    assert len(answers("imdb", split="test", subset="large", data_revision="main")) == 6
    assert answers("owner/name", split="test", subset="small", limit=2) == ["a0", "a1"]
    assert hub == [
        ("owner/name", "small", "test", "v1.0", False),
        ("imdb", "large", "test", "main", False),
        ("owner/name", "small", "test", None, True),
    ]
    with pytest.raises(ConfigError, match="says subset 'small', the option 'large'"):
        read_rows("owner/name:small", subset="large")


@pytest.mark.parametrize(
    ("name", "options", "remedy"),
    [
        ("owner/name", {}, "`subset` with one of: small, large"),
        ("owner/name:tiny", {}, "`subset` with one of: small, large"),
        ("owner/name:small", {}, "`split` with one of: test"),
        ("owner/other", {}, "check the path, or the id and the network"),
        ("no such file", {}, "give a file"),
        ("./rows", {}, "check the path"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_have_is_said_with_what_it_has(name, options, remedy):
    with pytest.raises(DataError) as raised:
        read_rows(name, **options)
    assert remedy in str(raised.value)
    assert f"where: {name}" in str(raised.value)


def test_without_the_library_the_install_line_is_said(tmp_path, monkeypatch):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"unweave\[datasets\]"):
        read_rows(tmp_path / "saved")


def test_rows_in_memory_are_rows():
    data = datasets.Dataset.from_list(ROWS)
    for source in (
        ROWS,
        tuple(ROWS),
        (row for row in ROWS),
        data,
        data.with_format("numpy"),
        data.to_iterable_dataset(),
        datasets.DatasetDict(train=data),
        pd.DataFrame(ROWS),
        pa.Table.from_pylist(ROWS),
    ):
        assert answers(source) == [row["completion"] for row in ROWS], type(source)
    frame = pd.DataFrame({"text": ["a", "b"], "n": [1.0, None], "when": [pd.Timestamp("2024-01-01"), pd.NaT]})
    first, second = read_rows(frame)
    assert dict(first.meta) == {"n": 1.0, "when": "2024-01-01T00:00:00"}
    assert dict(second.meta) == {"n": None, "when": None}
    assert second.place == "DataFrame:2"
    rows = read_rows([{"text": "a"}, "b"], on_bad_row="skip")
    assert rows.problems[0].reason == "a str, not a dictionary"
    with pytest.raises(DataError, match="A int holds no rows"):
        read_rows(3)


def test_images_are_not_decoded():
    features = datasets.Features({"text": datasets.Value("string"), "image": datasets.Image()})
    images = {"text": ["a"], "image": [{"bytes": b"\xff\xd8\xff", "path": None}]}
    data = datasets.Dataset.from_dict(images, features=features)
    for source in (data, data.to_iterable_dataset()):
        assert dict(read_rows(source)[0].meta) == {"image": {"bytes": {"base64": "/9j/"}, "path": None}}


def test_records_can_be_gone_through_again():
    records = Records((row for row in ROWS), Reading())
    assert list(records) == list(records)
