"""What a device has left: what this process has freed counts as free."""

import ctypes
import sys

import psutil
import pytest
import torch

from unweave import devices
from unweave.devices import free_memory


def test_what_is_held_is_not_free():
    first = free_memory("cpu")
    assert 0 < first <= psutil.virtual_memory().total


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc's malloc_trim"
)
def test_what_tensors_have_freed_is_given_back():
    def resident():
        return psutil.Process().memory_info().rss

    # Small enough for the heap, with one between each two that stays: nothing of it comes back by itself.
    many = [torch.ones(24_000) for _ in range(4_000)]
    kept = many[::100]
    full = resident()
    del many
    free_memory("cpu")
    assert full - resident() > 0.8 * 4_000 * 24_000 * 4 * 0.9
    assert len(kept) == 40


ELSEWHERE = """
import warnings
from tests.elsewhere import main
warnings.simplefilter("ignore")
main()
"""


def test_nothing_mixes_a_devices_tensors_with_the_cpus(tmp_path, forks, monkeypatch):
    monkeypatch.setenv("UNWEAVE_KERNELS", "torch")
    (done,) = forks.programs((ELSEWHERE,), folder=tmp_path)
    assert done.code == 0, done.errors[-2000:]
    assert done.printed.splitlines() == [
        "sketches lora fold True", "sketches all tensorsketch True", "trace Lima", "unlearn 1", "reference 6", "model 6",
    ]  # fmt: skip


SHORT_OF_MEMORY = """
import resource
import psutil
from tests.tiny import random_examples, tiny_model
from unweave.gradients.source import GradientSource
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
import torch
model = tiny_model("llama", dtype=torch.float32, lora=True)
examples = random_examples([200] * 96)
small = Sketcher(model, pad_token_id=0, config=GradientConfig(dimension=64, token_budget=800)).sketch_all(examples)
large = Sketcher(model, pad_token_id=0, config=GradientConfig(dimension=64, token_budget=96 * 200))
limit = psutil.Process().memory_info().vms + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
steps = []
found = large.sketch_all(examples, advance=steps.append)
print(sum(steps), 1 < len(steps) <= 48, torch.allclose(found.sketches, small.sketches, rtol=1e-3, atol=1e-5))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_batches_are_halved_before_the_cpus_memory_runs_out(tmp_path, forks):
    (done,) = forks.programs((SHORT_OF_MEMORY,), folder=tmp_path)
    assert done.printed.split() == ["96", "True", "True"], done.errors[-2000:]


def test_the_narrowest_limit_counts(tmp_path):
    """A group within a group, as both versions of control groups have them."""
    for version, names, line in (
        ("v2", ("memory.max", "memory.current"), "0::/outer/inner"),
        ("v1", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "4:memory:/outer/inner"),
    ):
        top = tmp_path / version / ("memory" if version == "v1" else "")
        for path, limit, used in (("outer", 900, 500), ("outer/inner", "max", 300)):
            (top / path).mkdir(parents=True, exist_ok=True)
            (top / path / names[0]).write_text(f"{limit}\n")
            (top / path / names[1]).write_text(f"{used}\n")
        (top / "outer" / "memory.stat").write_text("anon 1\ninactive_file 100\n")
        own = tmp_path / f"{version}.txt"
        own.write_text(f"9:name=systemd:/\n{line}\n")
        found = devices._groups(tmp_path / version, own)
        assert [limit.parent.name for limit, _ in found] == ["inner", "outer"]
        assert devices._free(found) == (900 - 500 + 100, 900)
