"""benchmarks/gpu.py, which runs wherever a GPU is lent for minutes, must not fail there for what a CPU can show."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module("gpu")


def test_every_part_runs_dry_on_the_cpu(gpu, monkeypatch, tmp_path):
    file = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry-run", "--output", str(file), "--minutes", "60"])
    gpu.main()
    results = json.loads(file.read_text())
    assert list(results["parts"]) == list(gpu.PARTS)
    assert {part["status"] for part in results["parts"].values()} == {"done"}
    pieces = {f"{name}: {piece}": value for name, part in results["parts"].items() for piece, value in part.items()}
    assert {name: value for name, value in pieces.items() if isinstance(value, dict) and "error" in value} == {}
    skipped = {name for name, value in pieces.items() if isinstance(value, dict) and "skipped" in value}
    assert {name for name in skipped if "4-bit" not in name} == {
        "kernels: CUDA tests", "scan: CPU memory, product on the GPU", "limited: offloaded, gradient checkpointing",
    }  # fmt: skip
    assert pieces["kernels: hash"]["same_bits"] == 64
    assert pieces["agreement: lora, fold"] == {
        "sketches": 0, "norms": 0, "losses": 0, "products": 0, "same_bits_twice": True,
    }  # fmt: skip
    caching = pieces["caching: lora, fold, 48 tokens a batch"]
    assert caching["seconds_for_all_rows"] > 0
    assert caching["tokens_a_batch"] == 48
    assert {"rapidun", "npo", "distill"} <= results["parts"]["unlearning"].keys()


def test_a_part_that_fails_loses_nothing_and_one_without_time_is_named(gpu, monkeypatch, tmp_path):
    file = tmp_path / "gpu.json"

    def broken(session):
        session.note("before", 1)
        raise ValueError("broken")

    monkeypatch.setattr(importlib.import_module("gpu_parts.scanning"), "run", broken)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry-run", "--output", str(file), "--parts", "scan"])
    gpu.main()
    part = json.loads(file.read_text())["parts"]["scan"]
    assert (part["before"], part["status"]) == (1, "failed: ValueError: broken")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry-run", "--output", str(file), "--minutes", "0.1"])
    gpu.main()
    assert {part["status"] for part in json.loads(file.read_text())["parts"].values()} == {
        "skipped: the minutes were over"
    }
