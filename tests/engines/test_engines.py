"""The same store whatever the engine, the number of workers and the batch size; a worker killed in the middle loses nothing."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from unweave.cli.main import main
from unweave.store.maintenance import check_store
from unweave.store.store import GradientStore

pytestmark = pytest.mark.long

COMMON = ["--parameters", "linear", "--dimension", "256", "--commit-rows", "3", "--dtype", "float32", "--quiet"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    save_model(folder / "model")
    records = [
        {**row, "id": f"r{index}-{copy}", "context": f"{copy}"} for copy in range(4) for index, row in enumerate(ROWS)
    ]
    write_rows(folder / "rows.jsonl", records)
    return folder


def arguments(inputs, store, *more):
    return [
        "cache",
        "--model",
        str(inputs / "model"),
        "--data",
        str(inputs / "rows.jsonl"),
        "--store",
        str(store),
        *COMMON,
        *more,
    ]


@pytest.fixture(scope="module")
def local(inputs, tmp_path_factory):
    store = tmp_path_factory.mktemp("local") / "store"
    assert main(arguments(inputs, store)) == 0
    return GradientStore.open(store)


def assert_same(store, local):
    opened = GradientStore.open(store)
    assert opened.row_ids() == local.row_ids()
    assert opened.spec == local.spec
    assert check_store(opened) == []
    torch.testing.assert_close(opened.read(local.row_ids()), local.read(local.row_ids()), rtol=1e-3, atol=1e-3)
    for column in ("norms", "losses"):
        torch.testing.assert_close(
            opened.column(column, local.row_ids()), local.column(column, local.row_ids()), rtol=1e-4, atol=1e-5
        )


def torchrun(inputs, store):
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "unweave.cli.main",
    ]
    return [*launch, *arguments(inputs, store, "--engine", "torchrun", "--json")]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def test_batch_size_does_not_matter(inputs, local, tmp_path):
    assert main(arguments(inputs, tmp_path / "s", "--token-budget", "16")) == 0
    assert_same(tmp_path / "s", local)


def test_two_processes_of_torchrun_make_the_same_store(inputs, local, tmp_path):
    done = subprocess.run(
        torchrun(inputs, tmp_path / "s"), capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["computed"] == len(local.row_ids())
    assert_same(tmp_path / "s", local)


def test_killed_processes_lose_nothing(inputs, local, tmp_path, forks):
    line = shlex.join(arguments(inputs, tmp_path / "s", "--engine", "torchrun", "--json"))
    forks.start_ranks(2, line, folder=tmp_path)
    commits = tmp_path / "s" / "commits"
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline and not (commits.is_dir() and list(commits.glob("[0-9]*.json"))):
        time.sleep(0.02)
    for member in psutil.Process(forks.process.pid).children(recursive=True):
        member.kill()
    assert [ended.code for ended in forks.ends()] == [-signal.SIGKILL] * 2
    kept = GradientStore.open(tmp_path / "s").row_ids()
    assert kept
    assert main(arguments(inputs, tmp_path / "s")) == 0
    opened = GradientStore.open(tmp_path / "s")
    assert sorted(opened.row_ids()) == sorted(local.row_ids())
    torch.testing.assert_close(opened.read(local.row_ids()), local.read(local.row_ids()), rtol=1e-3, atol=1e-3)


def test_torchrun_without_torchrun_is_refused(inputs, tmp_path, capsys):
    assert main(arguments(inputs, tmp_path / "s", "--engine", "torchrun")) == 2
    assert "torchrun --nproc-per-node" in capsys.readouterr().err


RAY = """
import json, os, sys
os.environ["RAY_DEDUP_LOGS"] = "0"
import ray
ray.init(num_cpus=3, include_dashboard=False, configure_logging=False, log_to_driver=False, object_store_memory=100_000_000)
from unweave.cli.main import main
print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[1])]))
"""


@pytest.mark.ray
def test_actors_of_ray_make_the_same_store(inputs, local, tmp_path):
    pytest.importorskip("ray")
    options = ["--engine", "ray", "--workers", "2", "--worker-cpus", "0.5"]
    greedy = [*options[:3], "4", "--worker-cpus", "1"]
    both = [arguments(inputs, tmp_path / "s", *options), arguments(inputs, tmp_path / "t", *greedy)]
    command = [sys.executable, "-c", RAY, json.dumps(both)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 2], done.stderr[-3000:]
    assert_same(tmp_path / "s", local)
    assert "would wait for ever" in done.stderr
