"""What leaves a store leaves all that was made from it: rows that outgrew the length limit, and approximate indexes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.attribution.test_trace import cache_config, loaded, rows
from unweave.attribution.caching import cache_rows
from unweave.locks import locked
from unweave.store.maintenance import check_store, compact_store
from unweave.store.store import GradientStore
from unweave.store.texts import read_texts

LONG = " ".join(["moon"] * 60)


def changed_to(text):
    first, *others = rows()
    return [replace(first, instruction=text, completion="moon"), *others]


def test_a_row_that_changed_and_has_no_room_leaves_with_its_old_sketch(tmp_path, capsys):
    model, config = loaded(), cache_config(tmp_path, max_length=24, on_long_row="drop")
    cache_rows(config, loaded=model, rows=rows())
    before = GradientStore.open(config.store)
    others = [row.id for row in rows()[1:]]
    kept, old = before.read(others), before.read(["r0"])[0].numpy().tobytes()[:32]
    again = cache_rows(replace(config, max_length=24), loaded=model, rows=changed_to(LONG))
    assert again.computed == 0
    assert "1 row(s) have changed under their ids since they were cached, and do not fit now" in capsys.readouterr().err
    store = GradientStore.open(config.store)
    assert set(store.row_ids()) == set(others)
    assert torch.equal(store.read(others), kept), "the others are what they were"
    assert not any(old in path.read_bytes() for path in config.store.rglob("*") if path.is_file())
    assert [text["prompt"] for text in read_texts(config.store) if text["id"] == "r0"] == [LONG]
    assert check_store(store) == []
    assert cache_rows(config, loaded=model, rows=changed_to(LONG)).computed == 0
    # Once it fits again it comes back, since nobody has deleted it.
    assert cache_rows(config, loaded=model, rows=changed_to("hello")).computed == 1
    assert len(GradientStore.open(config.store).row_ids()) == len(rows())


def test_a_row_that_is_dropped_unchanged_keeps_its_sketch(tmp_path):
    model = loaded()
    long = changed_to(LONG)
    config = cache_config(tmp_path, max_length=24, on_long_row="cut")
    first = cache_rows(config, loaded=model, rows=long)
    again = cache_rows(replace(config, on_long_row="drop"), loaded=model, rows=long)
    assert again.rows == first.rows


@pytest.fixture
def indexed(tmp_path):
    pytest.importorskip("faiss")
    from unweave.attribution.ann import search_index

    model, config = loaded(), cache_config(tmp_path)
    cache_rows(config, loaded=model, rows=rows())
    store = GradientStore.open(config.store)
    search_index(store, torch.ones(1, 512), top_k=3)
    assert holds(store, "r3")
    return store


def holds(store, row_id):
    """Whether an index of the store holds the sketch of a row."""
    needle = store.read([row_id])[0].numpy().astype(np.float32).tobytes()[:64]
    return any(needle in path.read_bytes() for path in store.folder.glob("index/*"))


def search(store):
    from unweave.attribution.ann import search_index

    return search_index(store, torch.ones(1, 512), top_k=20)[0]


def test_an_index_goes_when_a_row_is_deleted_and_is_made_anew_without_it(indexed):
    reader = GradientStore.open(indexed.folder)
    assert len(reader.row_ids()) == len(rows())
    with indexed.writing():
        indexed.delete(["r3"])
    assert not list(indexed.folder.glob("index/*"))
    ranking = search(GradientStore.open(indexed.folder))
    assert "r3" not in {hit.row_id for hit in ranking.helpful}
    assert list(indexed.folder.glob("index/*.faiss"))
    assert not holds(reader, "r3")
    compact_store(indexed)
    assert not list(indexed.folder.glob("index/*"))
    # Who opened the store before finds the row still, and must not bring it back onto the disk.
    assert "r3" in {hit.row_id for hit in search(reader).helpful}
    assert not list(indexed.folder.glob("index/*"))
    assert check_store(GradientStore.open(indexed.folder)) == []


def test_an_index_is_not_kept_while_another_process_writes(indexed, capsys):
    indexed.drop_index()
    with locked(indexed.folder / ".lock"):
        assert search(GradientStore.open(indexed.folder)).helpful
    assert "not kept: Another process is writing" in capsys.readouterr().err
    assert not list(indexed.folder.glob("index/*.faiss"))


def test_a_broken_index_is_made_again(indexed):
    path = next(indexed.folder.glob("index/*.faiss"))
    path.write_bytes(path.read_bytes()[:40])
    assert search(GradientStore.open(indexed.folder)).helpful
    assert holds(indexed, "r3")
