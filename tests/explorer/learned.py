"""A model that knows its rows by heart, a store of them, and an explorer of both: for tests of what forgets."""

import shutil
import time

from tests.explorer.clients import open_explorer
from tests.finding.planted import planted_rows
from tests.folders import save_model, write_rows
from unweave.attribution.caching import cache_rows
from unweave.engines.config import CacheConfig
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune

SMALL = {"method": "ga", "target_loss": 2.6, "margin": 1.0, "retain_rows": 8, "test_rows": 8}
LONGEST = 120.0
_learned = {}


def learn(folder, *, epochs=20):
    """Train a tiny model on rows of which some all teach the same, and cache their gradients."""
    save_model(folder / "base")
    records = [
        {"id": row.id, "instruction": row.instruction, "context": "", "response": row.completion}
        for row in planted_rows(planted=8, others=24)
    ]
    data = write_rows(folder / "rows.jsonl", records)
    common = {"dtype": "float32"}
    fine_tune(
        TrainConfig(
            model=str(folder / "base"), data=data, output_dir=folder / "tuned", epochs=epochs, batch_size=8, lora_r=4, lora_alpha=8, lora_dropout=0.0,
            learning_rate=2e-2, **common,
        )
    )  # fmt: skip
    cache_rows(CacheConfig(model=str(folder / "tuned"), data=data, store=folder / "store", dimension=64, **common))
    return folder


def copy_of_learned(tmp_path_factory):
    """A world of one's own; the training is made once a process."""
    if not _learned:
        _learned["folder"] = learn(tmp_path_factory.mktemp("learned"))
    folder = tmp_path_factory.mktemp("explored")
    for name in ("store", "rows.jsonl", "tuned"):
        source = _learned["folder"] / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    return folder


def client_of(folder, **options):
    return open_explorer(folder, **{"data": folder / "rows.jsonl", "dtype": "float32"} | options)


def ended(client, run_id):
    """Wait for a run's end."""
    processes, until = client.workspace.processes, time.monotonic() + LONGEST
    while (run := processes.run(run_id)).is_running:
        assert time.monotonic() < until, "\n".join(run.output())
        time.sleep(0.1)
    return run


def once(condition, *, what):
    until = time.monotonic() + LONGEST
    while not (found := condition()):
        assert time.monotonic() < until, what
        time.sleep(0.02)
    return found
