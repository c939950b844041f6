"""One writer, many readers: what a reader has opened it can read, whatever is appended, compacted or repaired meanwhile."""

from pathlib import Path

import pytest
import torch

from tests.store.test_store import fill, make_spec
from unweave.attribution.retrieval import influence_scores
from unweave.data.rows import Row
from unweave.errors import StoreError
from unweave.store import pinned
from unweave.store.maintenance import compact_store, repair_store
from unweave.store.store import GradientStore
from unweave.store.texts import write_texts


def store_of_three_shards(folder):
    store = GradientStore.create(folder, make_spec(number_format="float32"))
    sketches = torch.cat([fill(store, ids, seed=seed) for seed, ids in enumerate(("abc", "de", "f"))])
    write_texts(folder, [Row(id=name, instruction="q", completion=f"answer {name}") for name in "abcdef"])
    return store, sketches


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_reader_goes_on_with_what_it_opened_through_a_compaction(tmp_path):
    writer, sketches = store_of_three_shards(tmp_path / "s")
    before = descriptors()
    reader = GradientStore.open(tmp_path / "s")
    ids = reader.row_ids()
    assert descriptors() == before, "a store of thousands of shards needs no thousand descriptors"
    with writer.writing():
        writer.delete(["b", "f"])
    compact_store(writer)
    fill(writer, ["g"], seed=9)
    assert ids == list("abcdef") == reader.row_ids()
    torch.testing.assert_close(reader.read(ids), sketches)
    assert reader.column("norms", ids).tolist() == [1, 2, 3, 1, 2, 1]
    found, scores = influence_scores(reader, sketches[:2])
    assert found == ids
    torch.testing.assert_close(scores, sketches[:2] @ sketches.T)
    assert GradientStore.open(tmp_path / "s").row_ids() == list("acdeg")
    needle = sketches[1].numpy().tobytes()[:64]
    assert not any(needle in path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file())
    reader.refresh()
    assert reader.row_ids() == list("acdeg")
    with pytest.raises(StoreError, match="'b'"):
        reader.read(["b"])


def test_a_reader_goes_on_through_a_repair(tmp_path):
    writer, sketches = store_of_three_shards(tmp_path / "s")
    reader = GradientStore.open(tmp_path / "s")
    ids = reader.row_ids()
    (tmp_path / "s/shards" / f"{writer.commits()[1].name}.safetensors").unlink()
    assert repair_store(GradientStore.open(tmp_path / "s")) == ["d", "e"]
    torch.testing.assert_close(reader.read(ids), sketches)
    assert GradientStore.open(tmp_path / "s").row_ids() == list("abcf")


def test_a_reader_without_room_for_maps_is_told_to_begin_again_and_not_to_repair(tmp_path, monkeypatch):
    monkeypatch.setattr(pinned, "MOST", 0)
    writer, _ = store_of_three_shards(tmp_path / "s")
    reader = GradientStore.open(tmp_path / "s")
    ids = reader.row_ids()
    with writer.writing():
        writer.delete(["b"])
    compact_store(writer)
    with pytest.raises(StoreError, match="compacted or repaired since") as raised:
        reader.read(ids)
    assert "again" in str(raised.value)
    assert "store repair" not in str(raised.value)
    reader.refresh()
    assert len(reader.read(reader.row_ids())) == 5


def test_texts_are_those_of_the_sketches_that_a_reader_goes_on_with(tmp_path):
    writer, _ = store_of_three_shards(tmp_path / "s")
    reader = GradientStore.open(tmp_path / "s")
    assert len(reader.row_ids()) == 6
    with writer.writing():
        writer.delete(["b", "f"])
    compact_store(writer)
    texts = reader.texts()
    assert set(texts) == set("acde") == set(reader.row_ids()), "it goes along, since the texts are gone"
    assert texts["a"]["completion"] == "answer a"


def test_a_store_that_lacks_texts_can_be_read(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec())
    fill(store, ["a"])
    assert GradientStore.open(tmp_path / "s").texts() == {}


def test_what_a_killed_compaction_had_replaced_is_taken_away_by_the_next_writer(tmp_path, monkeypatch):
    store, _ = store_of_three_shards(tmp_path / "s")
    old = store.commits()[0]
    with store.writing():
        store.delete(["b"])

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("unweave.store.records.remove", killed)
    with pytest.raises(KeyboardInterrupt):
        compact_store(store)
    monkeypatch.undo()
    assert store.commit_path(old.name).exists()
    assert GradientStore.open(tmp_path / "s").row_ids() == list("acdef"), "killed before the old one went"
    with GradientStore.open(tmp_path / "s").writing():
        assert not store.commit_path(old.name).exists()
        assert not store.shard_path(old.name).exists()


# Each row's sketch is its number, and rows come and go ten at a time.
WRITER = """
import sys, torch
from pathlib import Path
from tests.store.test_store import make_spec
from unweave.store.maintenance import compact_store
from unweave.store.store import GradientStore
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
store = GradientStore.create(folder, make_spec(number_format="float32"))
for turn in range(rounds):
    with store.writing():
        numbers = [turn * 10 + place for place in range(10)]
        sketches = torch.tensor(numbers, dtype=torch.float32)[:, None].repeat(1, 64)
        store.commit([f"r{number}" for number in numbers], sketches, torch.ones(10), torch.ones(10))
    if turn % 2:
        with store.writing():
            store.delete([f"r{turn * 10 + 3}", f"r{turn * 10 - 5}"])
        compact_store(store)
(folder / "done").touch()
"""
READER = """
import json, sys, time
from pathlib import Path
from unweave.store.store import GradientStore
folder, turns = Path(sys.argv[1]), 0
largest = 0
while not (folder / "store.json").exists():
    time.sleep(0.001)
while not (folder / "done").exists() or not turns:
    store = GradientStore.open(folder)
    ids = store.row_ids()
    assert len(set(ids)) == len(ids), "every row once"
    assert len(ids) >= largest - 2, "no row is lost but for those deleted"
    largest = max(largest, len(ids))
    if ids:
        assert store.read(ids)[:, 5].tolist() == [float(name[1:]) for name in ids]
        assert len(store.column("norms", ids)) == len(ids)
    turns += 1
print(json.dumps(turns))
"""


def test_readers_beside_a_process_that_appends_deletes_and_compacts(tmp_path, forks):
    folder, rounds = tmp_path / "s", 40

    writer, reader = forks.programs((WRITER, folder, rounds), (READER, folder), folder=tmp_path)
    assert writer.code == 0, writer.errors
    assert reader.code == 0, reader.errors
    assert int(reader.printed) >= 1
    store = GradientStore.open(folder)
    assert len(store.row_ids()) == rounds * 10 - rounds
    assert not store.deleted()
