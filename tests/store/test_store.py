"""The store: nothing half written is ever seen, a kill loses at most one commit, and another model is refused."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from unweave.errors import StoreError
from unweave.store.format import StoreSpec
from unweave.store.numbers import decode_numbers, encode_numbers
from unweave.store.store import GradientStore


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
    blocks = list(opened.scan(block_rows=2))
    assert [block.row_ids for block in blocks] == [("a", "b"), ("c",), ("d", "e")]
    assert opened.check() == []
    assert opened.info()["rows"] == 5


def test_float16_keeps_small_gradients():
    sketches = torch.randn(4, 64) * torch.tensor([1e-12, 1.0, 1e12, 0.0])[:, None]
    values, scales = encode_numbers(sketches, "float16")
    assert values.dtype == torch.float16
    decoded = decode_numbers(values, scales)
    error = (decoded - sketches).abs().amax(dim=1) / sketches.abs().amax(dim=1).clamp(min=1e-30)
    assert (error <= 2**-11).all()


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
    "field", [field.name for field in dataclasses.fields(StoreSpec) if field.name not in ("model", "adapter", "sign")]
)
def test_a_store_made_in_another_way_is_refused_with_the_field(tmp_path, field):
    spec = make_spec()
    GradientStore.create(tmp_path / "s", spec)
    other = dataclasses.replace(
        spec,
        **{
            field: {"template": "alpaca"}
            if field == "encoding"
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
    assert [fault.split()[0] for fault in store.check()] == [shard.name]
    shard.write_bytes(content[:-10])
    assert "bytes" in store.check()[0]
    with pytest.raises(StoreError, match="bytes instead of") as raised:
        list(GradientStore.open(tmp_path / "s").scan())
    assert shard.name in str(raised.value)
    shard.unlink()
    with pytest.raises(StoreError, match="is missing"):
        GradientStore.open(tmp_path / "s").read(["c"])


def test_a_broken_description_is_named(tmp_path):
    with pytest.raises(StoreError, match="no gradient store"):
        GradientStore.open(tmp_path)
    store = GradientStore.create(tmp_path / "s", make_spec())
    path = store.folder / "store.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(StoreError, match="version 99"):
        GradientStore.open(store.folder)


def test_two_writers_are_refused(tmp_path):
    store = GradientStore.create(tmp_path / "s", make_spec())
    code = f"""
        from pathlib import Path
        from unweave.errors import StoreError
        from unweave.store.store import GradientStore
        try:
            with GradientStore.open(Path({str(store.folder)!r})).writing():
                print("wrote")
        except StoreError as error:
            print(error.what)
    """
    with store.writing():
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "Another process is writing" in done.stdout


WRITER = """
import sys, torch
from pathlib import Path
from tests.store.test_store import make_spec
from unweave.store.store import GradientStore

store = GradientStore.create(Path(sys.argv[1]), make_spec(number_format="float32"))
ids = [f"r{index}" for index in range(60)]
with store.writing():
    print("ready", flush=True)
    for row_id in store.pending(ids):
        sketch = torch.full((1, 64), float(row_id[1:]))
        store.commit([row_id], sketch, torch.ones(1), torch.ones(1))
        print(row_id, flush=True)
"""


def test_kill_nine_loses_nothing_that_was_committed(tmp_path):
    folder = tmp_path / "s"
    for lines in (3, 9, 17, 30):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(lines)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = GradientStore.open(folder)
        assert set(said[1:]) <= set(store.row_ids())
        assert store.check() == []
    subprocess.run([sys.executable, "-c", WRITER, str(folder)], check=True, capture_output=True)
    store = GradientStore.open(folder)
    assert sorted(store.row_ids()) == sorted(f"r{index}" for index in range(60))
    assert len(set(store.row_ids())) == 60
    assert store.read(["r7", "r59"])[:, 0].tolist() == [7.0, 59.0]
