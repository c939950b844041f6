"""A base, an adapter that was trained on rows, and a ledger of requests about them."""

import contextlib
import shutil

from tests.folders import save_model, write_rows
from unweave.attribution.caching import cache_rows
from unweave.config import dump_yaml
from unweave.engines.config import CacheConfig
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, RunConfig, VerifyConfig
from unweave.ledger.run import run_request
from unweave.ledger.verify import verify_request
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of

RECORDS = [
    {"id": f"r{i}", "instruction": f"add {i % 10} and {i // 10}", "context": "", "response": f"{(i * 3) % 10} yes", "owner": "ann" if i % 4 else "bob"}
    for i in range(48)
]  # fmt: skip


EASY = {"target_loss": 0.1, "margin": 0.5}
"""Criteria that a few steps of a tiny model meet, for tests that are about something else."""

WORDS = [word for name, value in EASY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
"""The same on the command line."""


def train_in(folder):
    """A base, an adapter trained on the rows, and a forgetting config that works."""
    save_model(folder / "base")
    data = write_rows(folder / "train.jsonl", RECORDS)
    fine_tune(
        TrainConfig(
            model=str(folder / "base"), data=data, output_dir=folder / "adapter", epochs=4, batch_size=8, learning_rate=5e-3, lora_r=4, dtype="float32"
        )
    )  # fmt: skip
    ga = config_of("ga")(
        forget=data, retain=data, output_dir=folder, epochs=0.2, batch_size=4, learning_rate=5e-3, stop_loss=1e9
    )
    (folder / "ga.yaml").write_text(dump_yaml("forget", ga))
    return folder


def cached_in(folder, trained, records=RECORDS):
    """Rows in a file, and a store of their sketches: worlds begin with a copy."""
    data = write_rows(folder / "train.jsonl", records)
    cache_rows(
        CacheConfig(model=str(trained / "adapter"), data=data, store=folder / "store", dimension=64, dtype="float32")
    )
    return folder


class World:
    """The rows, perhaps a store of them, and how to add and run requests on a new ledger."""

    def __init__(self, trained, folder):
        self.trained, self.folder, self.ledger = trained, folder, folder / "ledger"

    def add(self, *row_ids, **changes):
        first = not self.ledger.exists()
        options = {
            "data": self.folder / "train.jsonl",
            "model": str(self.trained / "adapter"),
            "store": self.folder / "store",
            "max_removed_share": 0.2,
            "max_perplexity_change": 10.0,
        }
        return add_request(
            AddConfig(**{"ledger": self.ledger, "row_ids": row_ids, **(options if first else {}), **changes})
        )

    def config(self, request, **changes):
        options = {"method": "ga", "forget_config": self.trained / "ga.yaml", "retain_rows": 8, "test_rows": 12, **EASY}
        return RunConfig(**{"request": request, "ledger": self.ledger, "dtype": "float32", **options, **changes})

    def run(self, request, **changes):
        return run_request(self.config(request, **changes))

    def verify(self, request):
        return verify_request(VerifyConfig(request=request, ledger=self.ledger))

    def faults(self, request):
        return [check["fault"] for check in self.verify(request)["checks"] if not check["ok"]]

    def result(self, request):
        return self.ledger / "requests" / request


@contextlib.contextmanager
def put_back(made):
    """A world for one test, as it was made: whatever the test does to its folder is undone.

    `made` is the world and a copy of its folder, for all tests of a module.
    """
    world, copy = made
    yield world
    shutil.rmtree(world.folder)
    shutil.copytree(copy, world.folder)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
