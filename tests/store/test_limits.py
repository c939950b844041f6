"""A store where the system gives little: few descriptors, a full disk, a folder that can't be written to."""

import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

from tests.store.test_store import fill, make_spec
from unweave.faults import explained
from unweave.store.maintenance import check_store, compact_store
from unweave.store.store import GradientStore

FEW = """
import resource, sys
from pathlib import Path
import torch
from unweave.store.maintenance import check_store, compact_store, merge_stores
from unweave.store.store import GradientStore
from unweave.attribution.retrieval import influence_scores, search
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
store = GradientStore.open(Path(sys.argv[1]))
ids = store.row_ids()
assert len(ids) == 300
assert store.read(ids).shape == (300, 64)
store.column("norms", ids)
queries = torch.ones(2, 64)
assert influence_scores(store, queries)[1].shape == (2, 300)
assert len(search(store, queries, top_k=3).rankings) == 2
assert check_store(store) == []
with store.writing():
    store.delete(ids[::2])
compact_store(store)
assert check_store(store) == []
merge_stores([store.folder], Path(sys.argv[2]))
print("done")
"""


def store_of(folder, shards):
    """A store of shards of two rows."""
    store = GradientStore.create(folder, make_spec(number_format="float32"))
    with store.writing():
        for number in range(shards):
            ids = [f"r{number}.{place}" for place in range(2)]
            store.commit(ids, torch.full((2, 64), float(number)), torch.ones(2), torch.ones(2))
    return store


def test_thousands_of_shards_need_no_thousands_of_descriptors(tmp_path, forks):
    store_of(tmp_path / "s", 150)
    (done,) = forks.programs((FEW, tmp_path / "s", tmp_path / "all"), folder=tmp_path)
    assert done.printed == "done\n", done.errors


def rows_of(folder):
    return GradientStore.open(folder).row_ids()


@pytest.mark.parametrize("room", range(9))
def test_a_disk_that_fills_up_loses_nothing_and_the_next_run_goes_on(tmp_path, monkeypatch, room):
    store = store_of(tmp_path / "s", 2)
    left, real = room, os.fsync

    def full(descriptor):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    before = rows_of(tmp_path / "s")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        fill(store, ["x"])
        with store.writing():
            store.delete(["r0.1"])
        compact_store(store)
        pytest.fail("there was room")
    told = explained(raised.value)
    assert told is not None
    assert "disk is full" in str(told)
    monkeypatch.undo()
    assert set(before) - {"r0.1"} <= set(rows_of(tmp_path / "s"))
    opened = GradientStore.open(tmp_path / "s")
    assert check_store(opened) == []
    if "x" not in opened.row_ids():
        fill(opened, ["x"])
    if "r0.1" in opened.row_ids():
        with opened.writing():
            opened.delete(["r0.1"])
    compact_store(opened)
    assert check_store(GradientStore.open(tmp_path / "s")) == []
    assert sorted(rows_of(tmp_path / "s")) == ["r0.0", "r1.0", "r1.1", "x"]
    assert not list((tmp_path / "s").rglob(".tmp-*"))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of a quarter of a megabyte; only some may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False).returncode:  # fmt: skip
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_real_disk_that_is_full(small_disk):
    store = store_of(small_disk / "s", 20)
    committed = 40
    with pytest.raises(OSError, match="No space left") as raised, store.writing():
        for number in range(2000):
            ids = [f"x{number}.{place}" for place in range(8)]
            store.commit(ids, torch.full((8, 64), 1.0), torch.ones(8), torch.ones(8))
            committed += 8
    assert "disk is full" in str(explained(raised.value))
    opened = GradientStore.open(small_disk / "s")
    assert len(opened.row_ids()) == committed
    assert check_store(opened) == []
    assert opened.read(["r19.1"])[0, 0] == 19
    Path(small_disk / "s/shards").joinpath(f"{opened.commits()[-1].name}.safetensors").stat()


@pytest.fixture
def read_only():
    """A folder for a store that this process may read and not write, once `close` is called."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)

    def close():
        for path in (place, *place.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        if not os.geteuid():
            # Root may write anywhere.
            os.seteuid(65534)

    yield place, close
    if not os.getuid():
        os.seteuid(0)
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(place)


def test_a_store_in_a_folder_that_can_not_be_written_to_is_read(read_only):
    place, close = read_only
    store_of(place / "s", 3)
    close()
    store = GradientStore.open(place / "s")
    assert store.read(store.row_ids()).shape == (6, 64)
    assert check_store(store) == []
    with pytest.raises(PermissionError) as raised, store.writing():
        pytest.fail("it can't be written to")
    assert "permissions" in str(explained(raised.value))


def test_a_lock_that_a_dead_process_left_holds_nobody_back(tmp_path):
    store = store_of(tmp_path / "s", 1)
    # Of another machine, or of a number that some other process has by now: what counts is who holds it.
    (store.folder / ".lock").write_text('{"process": 1, "machine": "elsewhere", "since": "2020-01-01T00:00:00+00:00"}')
    fill(store, ["x"])
    assert rows_of(store.folder) == ["r0.0", "r0.1", "x"]
    assert not (store.folder / ".lock").exists()
