"""The store: nothing half written is ever seen, a kill loses at most one commit, and another model is refused."""

import contextlib
import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest
import torch

from unweave.data.rows import Row
from unweave.errors import StoreError, UnweaveError
from unweave.sketch.numbers import decode_numbers, encode_numbers, stored_bytes
from unweave.store.format import FOR_PEOPLE, StoreSpec
from unweave.store.maintenance import check_store, compact_store, merge_stores, repair_store
from unweave.store.shards import layout_of
from unweave.store.store import GradientStore
from unweave.store.texts import read_texts, texts_by_id, write_texts


def make_spec(**changes):
    values = {
        "model": "m", "adapter": None, "model_fingerprint": "f", "tokenizer_fingerprint": "t", "encoding": {"template": "chat"},
        "parameters": "lora", "parameter_names": "p", "sketch": "fold", "dimension": 64, "sketch_seed": 42, "normalize": "tensor",
        "reduction": "mean", "number_format": "float16",
    }  # fmt: skip
    return StoreSpec(**{**values, **changes})


def fill(store, ids, seed=0):
    sketches = torch.randn(len(ids), 64, generator=torch.Generator().manual_seed(seed))
    with store.writing():
        store.commit(ids, sketches, torch.arange(len(ids)) + 1.0, torch.full((len(ids),), 0.5))
    return sketches


def test_what_is_committed_is_read_back(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec(number_format="float32"))
    first = fill(store, ["a", "b", "c"], seed=1)
    second = fill(store, ["d", "e"], seed=2)
    opened = GradientStore.open(tmp_path / "s")
    assert opened.row_ids() == ["a", "b", "c", "d", "e"]
    torch.testing.assert_close(opened.read(["e", "a"]), torch.stack([second[1], first[0]]))
    assert opened.column("norms", ["c", "d"]).tolist() == [3.0, 1.0]
    assert opened.pending(["a", "x", "e", "y"]) == ["x", "y"]
    blocks = opened.blocks(block_bytes=2 * 64 * 4)
    assert [block.row_ids for block in blocks] == [["a", "b"], ["c"], ["d", "e"]]
    torch.testing.assert_close(opened.decode(opened.load(blocks[1]).values, torch.ones(1)), first[2:])
    torch.testing.assert_close(opened.load(blocks[2]).lengths, second.norm(dim=1))
    assert check_store(opened) == []
    assert opened.info()["rows"] == 5


def test_float16_keeps_small_gradients():
    sketches = torch.randn(4, 64) * torch.tensor([1e-12, 1.0, 1e12, 0.0])[:, None]
    values, scales = encode_numbers(sketches, "float16")
    assert values.dtype == torch.float16
    decoded = decode_numbers(values, scales, "float16", 64)
    error = (decoded - sketches).abs().amax(dim=1) / sketches.abs().amax(dim=1).clamp(min=1e-30)
    assert (error <= 2**-11).all()


@pytest.mark.parametrize(("number_format", "tolerance"), [("float16", 1e-3), ("int8", 0.012), ("sign", 0.66)])
def test_formats_keep_rows_within_their_rounding(number_format, tolerance):
    sketches = torch.randn(6, 4096, generator=torch.Generator().manual_seed(1)) * torch.logspace(-9, 9, 6)[:, None]
    sketches[2] = 0
    values, scales = encode_numbers(sketches, number_format)
    assert values.element_size() * values.shape[1] == stored_bytes(4096, number_format)
    decoded = decode_numbers(values, scales, number_format, 4096)
    assert torch.equal(decoded[2], torch.zeros(4096)) or number_format == "sign"
    error = (decoded - sketches).norm(dim=1) / sketches.norm(dim=1)
    assert (error[[0, 1, 3, 4, 5]] < tolerance).all()


def test_the_scale_of_int8_is_calibrated():
    sketch = torch.randn(1, 65_536, generator=torch.Generator().manual_seed(1))
    sketch[0, 7] = 8.0
    values, scales = encode_numbers(sketch, "int8")
    error = (decode_numbers(values, scales, "int8", 65_536) - sketch).norm()
    step = sketch.abs().max() / 127
    assert error < 0.9 * ((sketch / step).round() * step - sketch).norm()


def test_rows_go_in_once(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec())
    fill(store, ["a"])
    with pytest.raises(StoreError, match="'a' is in the store already"):
        fill(store, ["a"])


def test_a_sketch_that_is_not_finite_is_refused_and_named(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec())
    sketches = torch.ones(2, 64)
    sketches[1, 3] = float("nan")
    with store.writing(), pytest.raises(StoreError, match="row 'b'"):
        store.commit(["a", "b"], sketches, torch.ones(2), torch.ones(2))
    assert GradientStore.open(tmp_path / "s").row_ids() == []


def test_a_shard_without_commit_is_not_seen_and_is_removed(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec())
    fill(store, ["a"])
    shard = next((tmp_path / "s/shards").iterdir())
    orphan = shard.with_name("000001-orphan.safetensors")
    orphan.write_bytes(shard.read_bytes())
    (tmp_path / "s/shards/.tmp-half.safetensors").write_bytes(b"half")
    assert GradientStore.open(tmp_path / "s").row_ids() == ["a"]
    fill(GradientStore.open(tmp_path / "s"), ["b"])
    assert not orphan.exists()
    assert len(list((tmp_path / "s/shards").iterdir())) == 2


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(StoreSpec) if field.name not in (*FOR_PEOPLE, "sign")]
)
def test_a_store_made_in_another_way_is_refused_with_the_field(tmp_path, field):
    spec = make_spec()
    GradientStore.create(tmp_path / "s", spec)
    other = dataclasses.replace(
        spec,
        **{
            field: {"template": "alpaca"}
            if isinstance(getattr(spec, field), dict)
            else 128
            if isinstance(getattr(spec, field), int)
            else "other"
        },
    )
    with pytest.raises(StoreError, match=rf"- {field}: the store has"):
        GradientStore.create(tmp_path / "s", other)


def test_damage_is_found_and_named(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec())
    fill(store, ["a", "b"])
    fill(store, ["c"], seed=5)
    shard = sorted((tmp_path / "s/shards").iterdir())[1]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert [fault.split()[0] for fault in check_store(store)] == [shard.name]
    shard.write_bytes(content[:-10])
    assert "bytes" in check_store(store)[0]
    with pytest.raises(StoreError, match="bytes instead of") as raised:
        opened = GradientStore.open(tmp_path / "s")
        [opened.load(block) for block in opened.blocks()]
    assert shard.name in str(raised.value)
    shard.unlink()
    with pytest.raises(StoreError, match="is missing"):
        GradientStore.open(tmp_path / "s").read(["c"])


def test_a_broken_description_is_named(tmp_path):
    with pytest.raises(StoreError, match="no gradient store"):
        GradientStore.open(tmp_path)
    store = GradientStore.create(tmp_path / "s", make_spec())
    path = store.folder / "store.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 99'))
    with pytest.raises(StoreError, match="version 99"):
        GradientStore.open(store.folder)


SECOND = """
import sys
from pathlib import Path
from unweave.errors import StoreError
from unweave.store.store import GradientStore

try:
    with GradientStore.open(Path(sys.argv[1])).writing():
        print("wrote")
except StoreError as error:
    print(error.what)
"""


def test_two_writers_are_refused(tmp_path, forks):
    store = GradientStore.create(tmp_path / "s", make_spec())
    with store.writing():
        (done,) = forks.programs((SECOND, store.folder), folder=tmp_path)
    assert f"Another process is writing to this store. It is process {os.getpid()} on " in done.printed


WRITER = """
import sys, torch
from pathlib import Path
from tests.store.test_store import make_spec
from unweave.store.store import GradientStore

store = GradientStore.create(Path(sys.argv[1]), make_spec(number_format="float32"))
ids = [f"r{index}" for index in range(60)]
with store.writing():
    for row_id in store.pending(ids):
        sketch = torch.full((1, 64), float(row_id[1:]))
        store.commit([row_id], sketch, torch.ones(1), torch.ones(1))
        print(row_id, flush=True)
"""


def test_kill_nine_loses_nothing_that_was_committed(tmp_path, forks):
    folder = tmp_path / "s"
    # Each goes on where the last was killed, and is killed at another of the changes to the disk of which a commit is made.
    for at in (60, 63, 67, 71, 77):
        (killed,) = forks.programs((WRITER, folder), folder=tmp_path, at=at)
        assert killed.code == -signal.SIGKILL
        assert killed.printed
        store = GradientStore.open(folder)
        assert set(killed.printed.split()) <= set(store.row_ids())
        assert check_store(store) == []
    (ended,) = forks.programs((WRITER, folder), folder=tmp_path)
    assert ended.code == 0, ended.errors
    store = GradientStore.open(folder)
    assert sorted(store.row_ids()) == sorted(f"r{index}" for index in range(60))
    assert len(set(store.row_ids())) == 60
    assert store.read(["r7", "r59"])[:, 0].tolist() == [7.0, 59.0]


def replacing_commit(store, ids, contents, value):
    with store.writing():
        sketches = torch.full((len(ids), 64), float(value))
        store.commit(ids, sketches, torch.full((len(ids),), float(value)), torch.ones(len(ids)), contents=contents)


def texts_of(folder, ids, completion, contents):
    write_texts(folder, [Row(id=name, instruction="q", completion=completion) for name in ids], contents)


def test_a_row_that_changed_is_replaced_for_those_who_open_the_store_afterwards(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec(number_format="float32"))
    texts_of(store.folder, "abc", "old", dict.fromkeys("abc", "1"))
    replacing_commit(store, ["a", "b", "c"], ["1", "1", "1"], 1)
    reader = GradientStore.open(tmp_path / "s")
    assert reader.contents() == dict.fromkeys("abc", "1")
    assert store.pending(["a", "b", "x"], ["1", "2", "1"]) == ["b", "x"]
    with store.writing(), pytest.raises(StoreError, match="'a' is in the store already"):
        store.commit(["a"], torch.ones(1, 64), torch.ones(1), torch.ones(1), contents=["1"])
    texts_of(store.folder, "b", "new", {"b": "2"})
    assert texts_by_id(store.folder, store.contents())["b"]["completion"] == "old", "its sketch is not there yet"
    replacing_commit(store, ["b", "d"], ["2", "1"], 2)
    for opened in (store, GradientStore.open(tmp_path / "s")):
        assert opened.row_ids() == ["a", "c", "b", "d"]
        assert [block.row_ids for block in opened.blocks()] == [["a", "c"], ["b", "d"]]
        assert opened.read(["b", "a"])[:, 0].tolist() == [2.0, 1.0]
        assert opened.column("norms", ["b", "c"]).tolist() == [2.0, 1.0]
        assert (opened.info()["rows"], opened.info()["replaced_rows"]) == (4, 1)
        assert texts_by_id(opened.folder, opened.contents())["b"]["completion"] == "new"
    assert reader.read(["b"])[0, 0] == 1
    assert texts_by_id(reader.folder, reader.contents())["b"]["completion"] == "old", "old text beside old sketch"
    assert reader.info()["rows_fingerprint"] != store.info()["rows_fingerprint"]
    with pytest.raises(StoreError, match="'b' has changed since it was cached"):
        store.require_rows(["a", "b"], ["1", "1"])
    assert compact_store(store) == 1
    assert check_store(store) == []
    assert store.row_ids() == ["a", "c", "b", "d"]
    assert [text["completion"] for text in read_texts(store.folder)] == ["old", "old", "new"]
    with pytest.raises(StoreError, match="has changed while the store was being read"):
        texts_by_id(reader.folder, reader.contents())
    store.delete(["b"])
    compact_store(store)
    assert "b" not in store.contents()
    assert {text["id"] for text in read_texts(store.folder)} == {"a", "c"}


def test_stores_with_replaced_rows_merge_and_stores_without_digests_open(tmp_path):
    first = GradientStore.create(tmp_path / "one", make_spec(number_format="float32"))
    fill(first, ["a", "b"])
    assert first.contents() == {"a": None, "b": None}
    assert first.pending(["a", "b"]) == []
    replacing_commit(first, ["a"], ["2"], 2)
    other = GradientStore.create(tmp_path / "two", make_spec(number_format="float32"))
    replacing_commit(other, ["c"], ["1"], 1)
    for _ in range(2):
        merged = merge_stores([tmp_path / "one", tmp_path / "two"], tmp_path / "all")
        assert merged.contents() == {"b": None, "a": "2", "c": "1"}
        assert merged.read(["a"])[0, 0] == 2


def test_deleted_rows_are_not_found_and_leave_the_disk(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec(number_format="float32"))
    first = fill(store, ["a", "b", "c"], seed=1)
    fill(store, ["d"], seed=2)
    with pytest.raises(StoreError, match="'x'"):
        store.delete(["a", "x"])
    store.delete(["b", "d"])
    opened = GradientStore.open(tmp_path / "s")
    assert opened.row_ids() == ["a", "c"]
    assert [block.row_ids for block in opened.blocks()] == [["a", "c"]]
    with pytest.raises(StoreError, match="'b'"):
        opened.read(["b"])
    with opened.writing(), pytest.raises(StoreError, match="was deleted"):
        opened.commit(["b"], torch.ones(1, 64), torch.ones(1), torch.ones(1))
    assert opened.info()["deleted_rows"] == 2
    write_texts(tmp_path / "s", [Row(id=name, instruction="q", completion=f"secret-{name}") for name in "abcd"])
    assert compact_store(opened) == 2
    assert compact_store(opened) == 0
    assert opened.row_ids() == ["a", "c"]
    torch.testing.assert_close(opened.read(["c", "a"]), first[[2, 0]])
    assert opened.info()["deleted_rows"] == 0
    assert {text["id"] for text in read_texts(tmp_path / "s")} == {"a", "c"}
    needle = first[1].numpy().tobytes()[:64]
    assert not any(needle in path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file())
    fill(opened, ["b"])
    assert GradientStore.open(tmp_path / "s").row_ids() == ["a", "c", "b"]


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 6])
def test_a_compaction_killed_anywhere_keeps_every_row_once(tmp_path, calls, monkeypatch):
    folder = tmp_path / "s"
    store = GradientStore.create(folder, make_spec(number_format="float32"))
    kept = fill(store, ["a", "b", "c"], seed=1)
    fill(store, ["d", "e"], seed=2)
    store.delete(["b", "d"])
    done = 0

    class Killed(BaseException):
        pass

    real = Path.unlink

    def unlink(path, **options):
        nonlocal done
        if "s" in path.parts and path.suffix in (".json", ".safetensors") and not path.name.startswith(".tmp"):
            done += 1
            if done == calls:
                raise Killed
        real(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    with contextlib.suppress(Killed):
        compact_store(store)
    monkeypatch.undo()
    opened = GradientStore.open(folder)
    assert sorted(opened.row_ids()) == ["a", "c", "e"]
    torch.testing.assert_close(opened.read(["a", "c"]), kept[[0, 2]])
    compact_store(opened)
    assert sorted(GradientStore.open(folder).row_ids()) == ["a", "c", "e"]
    assert GradientStore.open(folder).deleted() == set()
    assert check_store(GradientStore.open(folder)) == []
    assert len(list((folder / "shards").iterdir())) == 2


def test_stores_of_two_machines_are_merged(tmp_path):
    one = GradientStore.create(tmp_path / "one", make_spec(number_format="float32"))
    two = GradientStore.create(tmp_path / "two", make_spec(number_format="float32"))
    first, second = fill(one, ["a", "b"], seed=1), fill(two, ["c", "d"], seed=2)
    two.delete(["d"])
    for _ in range(2):  # the second time there is nothing left to do
        merged = merge_stores([tmp_path / "one", tmp_path / "two"], tmp_path / "all")
    assert merged.row_ids() == ["a", "b", "c"]
    torch.testing.assert_close(merged.read(["a", "b", "c"]), torch.cat([first, second[:1]]))
    assert check_store(merged) == []
    fill(GradientStore.create(tmp_path / "three", make_spec(number_format="float32")), ["a"])
    with pytest.raises(StoreError, match="'a' is in more than one"):
        merge_stores([tmp_path / "one", tmp_path / "three"], tmp_path / "new")
    GradientStore.create(tmp_path / "other", make_spec(sketch_seed=7, number_format="float32"))
    with pytest.raises(StoreError, match="sketch_seed"):
        merge_stores([tmp_path / "one", tmp_path / "other"], tmp_path / "newer")


def test_damaged_shards_are_withdrawn_for_caching_anew(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec())
    fill(store, ["a", "b"])
    fill(store, ["c"], seed=5)
    shard = sorted((tmp_path / "s/shards").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:-4])
    assert repair_store(store) == ["a", "b"]
    assert store.pending(["a", "b", "c"]) == ["a", "b"]
    fill(store, ["a", "b"])
    assert check_store(GradientStore.open(tmp_path / "s")) == []


def test_texts_that_cannot_be_read_are_found_and_taken_away(tmp_path):
    folder = tmp_path / "s"
    store = GradientStore.create(folder, make_spec())
    fill(store, ["a", "b"])
    write_texts(folder, [Row("a", "p", "c"), Row("b", "p", "d")])
    whole = (folder / "rows.parquet").read_bytes()
    for broken in (whole[:50], b"", whole[:-8] + b"\xff" * 8, whole[:4] + bytes(len(whole) - 8) + whole[-4:]):
        (folder / "rows.parquet").write_bytes(broken)
        with pytest.raises(StoreError, match=r"texts .* can't be read") as raised:
            read_texts(folder)
        assert "store repair" in str(raised.value)
        assert any("rows.parquet" in fault for fault in check_store(store))
        assert repair_store(store) == [], "the sketches are whole"
        assert check_store(store) == []
        assert read_texts(folder) == []


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("store.json", "{", "not valid JSON"),
        ("store.json", "[1]", "not a JSON object"),
        ("store.json", '{"version": 2}', "lacks 'model'"),
        ("store.json", {"dimension": "many"}, "'many' for 'dimension'"),
        ("store.json", {"dimension": 0}, "sketches of 0 numbers"),
        ("store.json", {"number_format": "float7"}, "float7"),
        ("store.json", {"encoding": {"max_length": "long"}}, "'long' for 'max_length'"),
        ("store.json", {"encoding": {"colour": 1}}, "'colour'"),
        ("commits/000009-x.json", '{"row_ids": []}', "commit of the store is broken"),
        ("commits/000009-x.json", '{"row_ids": "ab", "size": 1, "digest": ""}', "no list of ids"),
        ("commits/notanumber.json", '{"row_ids": ["x"], "size": 1, "digest": ""}', "commit of the store is broken"),
        ("deletions/0.json", "{}", "deletion of the store is broken"),
        ("deletions/0.json", '{"row_ids": [[1]]}', "deletion of the store is broken"),
    ],
)
def test_broken_records_are_named(tmp_path, file, content, message):
    folder = tmp_path / "s"
    fill(GradientStore.create(folder, make_spec()), ["a", "b"])
    if isinstance(content, dict):
        content = json.dumps(json.loads((folder / file).read_text()) | content)
    (folder / file).write_text(content)
    with pytest.raises(UnweaveError, match=message) as raised:
        GradientStore.open(folder).row_ids()
    assert file in str(raised.value)


def test_a_shard_with_a_broken_header_is_named(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec())
    fill(store, ["a", "b"])
    shard = next((tmp_path / "s/shards").iterdir())
    whole = shard.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length]
    for broken in (
        b"\xff" * length,
        b"[" * length,
        header.replace(b'"F32"', b'"X99"'),
        header.replace(b"[0,", b"[9,").replace(b"sketches", b"sketchez"),
    ):
        shard.write_bytes(whole[:8] + broken + whole[8 + length :])
        layout_of.cache_clear()
        with pytest.raises(StoreError, match="A shard"):
            GradientStore.open(tmp_path / "s").read(["a"])
