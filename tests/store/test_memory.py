"""A store in memory gives what one on a disk gives."""

import pytest
import torch

from tests.store.test_store import make_spec
from unweave.attribution.retrieval import influence_scores, search
from unweave.data.rows import Row
from unweave.errors import StoreError
from unweave.store.memory import MemoryStore
from unweave.store.store import GradientStore

IDS = ["a", "b", "c", "d", "e"]


def fill(store, ids, seed, contents):
    sketches = torch.randn(len(ids), 64, generator=torch.Generator().manual_seed(seed))
    rows = [Row(id=row_id, instruction=f"ask {row_id}", completion=own, meta={"n": 1}) for row_id, own in zip(ids, contents, strict=True)]  # fmt: skip
    with store.writing():
        store.keep_texts(rows, dict(zip(ids, contents, strict=True)))
        store.commit(ids, sketches, torch.arange(len(ids)) + 1.0, torch.full((len(ids),), 0.5), contents=contents)


@pytest.fixture(params=["float16", "int8", "sign", "float32"])
def stores(tmp_path, request):
    spec = make_spec(number_format=request.param)
    both = MemoryStore(spec), GradientStore.create(tmp_path / "s", spec)
    for store in both:
        fill(store, IDS[:3], 1, ["1", "2", "3"])
        fill(store, IDS[3:], 2, ["4", "5"])
    return both


def test_sketches_scores_and_texts_are_the_same(stores):
    memory, disk = stores
    assert memory.row_ids() == disk.row_ids() == IDS
    assert memory.contents() == disk.contents()
    assert torch.equal(memory.read(["e", "a"]), disk.read(["e", "a"]))
    assert torch.equal(memory.column("norms", IDS), disk.column("norms", IDS))
    queries = torch.randn(3, 64, generator=torch.Generator().manual_seed(3))
    for similarity in ("dot", "cosine"):
        found = [influence_scores(store, queries, similarity=similarity, block_bytes=128)[1] for store in stores]
        assert torch.equal(*found)
        rankings = [search(store, queries, top_k=2, similarity=similarity).rankings for store in stores]
        assert rankings[0] == rankings[1]
    assert memory.texts() == disk.texts()


def test_what_is_deleted_or_replaced_is_gone_from_memory(stores):
    memory, disk = stores
    for store in stores:
        with store.writing():
            store.delete(["b", "e"])
        fill(store, ["a"], 5, ["other"])
        assert store.row_ids() == ["c", "d", "a"]
        assert store.texts()["a"]["completion"] == "other"
    assert torch.equal(memory.read(["a", "c", "d"]), disk.read(["a", "c", "d"]))
    assert sorted(row_id for commit in memory.commits() for row_id in commit.row_ids) == ["a", "c", "d"]
    assert memory.texts().keys() == {"a", "c", "d"}
    with pytest.raises(StoreError, match="'a' is in the store already"):
        fill(memory, ["a"], 5, ["other"])
