"""What a device has left: what this process has freed counts as free."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

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


def test_nothing_mixes_a_devices_tensors_with_the_cpus():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.elsewhere"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "UNWEAVE_KERNELS": "torch"},
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "sketches lora fold True", "sketches all tensorsketch True", "trace Lima", "unlearn 1", "reference 6", "model 6",
    ]  # fmt: skip
