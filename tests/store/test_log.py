"""The store's log: no byte of a store changes unseen, and a kill at any point leaves a store that checks."""

import contextlib
import json
import os
import shutil

import pytest
import torch

from tests.flips import byte_flips, done_to, files_below, unnoticed
from tests.store.test_store import fill, make_spec
from unweave.cli.main import main
from unweave.data.remembered import remember_columns
from unweave.data.rows import Row
from unweave.errors import StoreError, UnweaveError
from unweave.files import write_text
from unweave.store.log import LOG
from unweave.store.maintenance import check_notes, check_store, compact_store, merge_stores, repair_store
from unweave.store.store import GradientStore
from unweave.store.texts import write_texts


@pytest.fixture
def folder(tmp_path):
    """A store with everything that one can hold: commits, a deletion, texts, columns, records of a run, and an index."""
    store = GradientStore.create(tmp_path / "s", make_spec(number_format="float32"))
    fill(store, ["a", "b", "c"], seed=1)
    fill(store, ["d", "e"], seed=2)
    with store.writing():
        write_texts(store.folder, [Row(id=name, instruction="q", completion=f"answer {name}") for name in "abcde"])
        remember_columns(store.folder, {"prompt": "ask", "completion": "say"})
        store.delete(["b"])
        write_text(store.folder / "run.json", "{}\n")
        write_text(store.folder / "index" / "x.faiss", "sketches")
    assert check_store(store) == []
    return store.folder


def is_well(folder):
    """As `unweave store check` finds it: no fault, and no error that says what is broken."""
    try:
        return not check_store(GradientStore.open(folder))
    except UnweaveError:
        return False


def flips(folder, count):
    return byte_flips(files_below(folder), count, seed=0)


def test_every_flipped_bit_is_noticed(folder):
    assert unnoticed(flips(folder, 150), lambda: is_well(folder)) == []
    assert check_store(GradientStore.open(folder)) == []


def test_a_flipped_bit_is_named_with_what_can_be_done(folder, capsys):
    for damage in flips(folder, 10):
        with done_to(damage):
            assert main(["store", "check", str(folder)]) == 1
        said = "".join(capsys.readouterr())
        assert damage.contents[0][0].stem in said, "the file"
        assert "remedy" in said
    assert main(["store", "check", str(folder)]) == 0
    assert "and so do all other files" in capsys.readouterr().out


def first(folder, kind):
    return sorted((folder / kind).iterdir())[0]


def exchange_ids(folder):
    path = first(folder, "commits")
    record = json.loads(path.read_text())
    record["row_ids"][:2] = record["row_ids"][1::-1]
    path.write_text(json.dumps(record))


def copy_commit(folder):
    name = first(folder, "commits").stem
    shutil.copy(folder / f"commits/{name}.json", folder / "commits/000009-deadbeef.json")
    shutil.copy(folder / f"shards/{name}.safetensors", folder / "shards/000009-deadbeef.safetensors")


def exchange_texts(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pq.read_table(folder / "rows.parquet").to_pylist()
    texts[0]["completion"], texts[1]["completion"] = texts[1]["completion"], texts[0]["completion"]
    pq.write_table(pa.Table.from_pylist(texts), folder / "rows.parquet")


def edit_description(folder):
    path = folder / "store.json"
    path.write_text(path.read_text().replace('"normalize": "tensor"', '"normalize": "none"'))


TAMPERED = {
    "two ids exchanged": (exchange_ids, "commits/", True),
    "a commit gone": (lambda folder: first(folder, "commits").unlink(), "commits/", True),
    "a deletion gone": (lambda folder: first(folder, "deletions").unlink(), "deletions/", False),
    "a commit copied": (copy_commit, "commits/000009-deadbeef.json", True),
    "texts exchanged": (exchange_texts, "rows.parquet", True),
    "texts gone": (lambda folder: (folder / "rows.parquet").unlink(), "rows.parquet", True),
    "the description edited": (edit_description, "store.json", False),
    "columns edited": (lambda folder: (folder / "columns.json").write_text("[]\n"), "columns.json", True),
    "the log gone": (lambda folder: (folder / LOG).unlink(), LOG, True),
    "the log emptied": (lambda folder: (folder / LOG).write_bytes(b""), LOG, True),
    "the log cut": (lambda folder: (folder / LOG).write_bytes((folder / LOG).read_bytes()[:-9]), LOG, True),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_tampered_with_is_named_and_repaired_where_that_is_possible(folder, name, capsys):
    tamper, file, repairable = TAMPERED[name]
    tamper(folder)
    faults = check_store(GradientStore.open(folder))
    assert any(fault.startswith(file) for fault in faults), faults
    assert main(["store", "check", str(folder)]) == 1
    if name not in ("columns edited", "the log cut"):
        with pytest.raises(StoreError, match="run `unweave store check`"):
            GradientStore.open(folder).texts()
    capsys.readouterr()
    assert main(["store", "repair", str(folder)]) == int(not repairable)
    said = capsys.readouterr().out
    left = check_store(GradientStore.open(folder))
    if repairable:
        assert left == []
        store = GradientStore.open(folder)
        store.read(store.row_ids())
        assert "b" not in store.row_ids(), "what was deleted stays deleted"
        fill(store, store.pending(["a", "c", "d", "e"]) or ["f"])
        assert check_store(store) == []
    else:
        assert f"not repaired: {file}" in said
        assert "can't be made anew" in said
        assert any(fault.startswith(file) for fault in left), "it goes on being named"


def test_a_store_that_lacks_a_record_is_not_written_to(folder):
    first(folder, "deletions").unlink()
    store = GradientStore.open(folder)
    with pytest.raises(StoreError, match="lacks 'deletions/") as raised, store.writing():
        pytest.fail("what was deleted would come back")
    assert "store check" in str(raised.value)


def test_texts_that_are_not_what_the_log_says_are_not_written_over(folder):
    exchange_texts(folder)
    store = GradientStore.open(folder)
    with store.writing(), pytest.raises(StoreError, match="not what the store's log says"):
        write_texts(folder, [Row(id="z", instruction="q", completion="z")])


def test_a_store_of_before_opens_is_told_apart_and_covered_from_the_next_writing_on(folder, capsys):
    (folder / LOG).unlink()
    path = folder / "store.json"
    record = json.loads(path.read_text())
    del record["log"]
    path.write_text(json.dumps(record))
    store = GradientStore.open(folder)
    assert store.row_ids() == ["a", "c", "d", "e"]
    assert check_store(store) == []
    assert "made before" in check_notes(store)[0]
    assert main(["store", "check", str(folder)]) == 0
    assert "made before ids" in capsys.readouterr().out
    fill(store, ["f"], seed=7)
    assert (check_store(store), check_notes(store)) == ([], [])
    exchange_ids(folder)
    assert any(fault.startswith("commits/") for fault in check_store(GradientStore.open(folder)))


def test_a_store_of_before_is_repaired(folder):
    (folder / LOG).unlink()
    path = folder / "store.json"
    path.write_text(path.read_text().replace('"log": "log.jsonl"', '"log": null'))
    shard = first(folder, "shards")
    shard.write_bytes(shard.read_bytes()[:-4])
    store = GradientStore.open(folder)
    assert repair_store(store) == ["a", "b", "c"]
    assert check_store(GradientStore.open(folder)) == []
    assert GradientStore.open(folder).row_ids() == ["d", "e"]


def test_compacted_and_merged_stores_check_and_the_log_forgets_what_is_gone(folder, tmp_path):
    store = GradientStore.open(folder)
    before = (folder / LOG).stat().st_size
    compact_store(store)
    assert check_store(GradientStore.open(folder)) == []
    assert (folder / LOG).stat().st_size < before
    assert "deletions/" not in (folder / LOG).read_text()
    other = GradientStore.create(tmp_path / "other", make_spec(number_format="float32"))
    fill(other, ["x"], seed=5)
    merged = merge_stores([folder, tmp_path / "other"], tmp_path / "all")
    assert check_store(merged) == []
    assert unnoticed(flips(tmp_path / "all", 30), lambda: is_well(tmp_path / "all")) == []


class Killed(BaseException):
    pass


@pytest.mark.parametrize("writes", range(14))
def test_a_kill_between_any_two_writes_leaves_a_store_that_checks(folder, monkeypatch, writes):
    done = 0

    def counted(name, real):
        def call(*args, **kwargs):
            nonlocal done
            done += 1
            if done > writes:
                raise Killed(name)
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr("pathlib.Path.replace", counted("replace", type(folder).replace))
    monkeypatch.setattr("os.fsync", counted("fsync", os.fsync))
    store = GradientStore.open(folder)
    with contextlib.suppress(Killed):
        fill(store, ["f"], seed=8)
        with store.writing():
            store.delete(["f", "a"])
        compact_store(store)
    monkeypatch.undo()
    assert check_store(GradientStore.open(folder)) == []
    store = GradientStore.open(folder)
    assert {"c", "d", "e"} <= set(store.row_ids())
    compact_store(store)
    assert check_store(GradientStore.open(folder)) == []
    torch.testing.assert_close(store.read(["c"])[0], torch.randn(3, 64, generator=torch.Generator().manual_seed(1))[2])


APPENDER = """
import sys, torch
from pathlib import Path
from unweave.store.store import GradientStore
store, start = GradientStore.open(Path(sys.argv[1])), int(sys.argv[2])
for number in range(start, start + 15):
    store.commit([f"r{number}"], torch.ones(1, 64), torch.ones(1), torch.ones(1), unit=number)
"""


def test_processes_that_commit_at_the_same_time_share_one_log(folder, forks):
    store = GradientStore.open(folder)
    with store.writing():
        ended = forks.programs(*((APPENDER, folder, start) for start in (100, 200)), folder=folder)
        assert [one.code for one in ended] == [0, 0], ended
    assert check_store(GradientStore.open(folder)) == []
    assert len(GradientStore.open(folder).row_ids()) == 4 + 30
