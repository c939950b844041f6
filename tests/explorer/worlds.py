"""A tiny model with its store, and rows, files and a model whose names and texts try to be more than text."""

import json

from tests.finding.planted import planted_rows
from tests.folders import save_model, write_rows
from unweave.cli.main import main
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune

SCRIPT = "<script>window.hacked = true</script>"
IMAGE = '"><img src=x onerror="window.hacked = true">'
MODEL, DATA = f"tuned{IMAGE.replace('/', '')}", f"rows{IMAGE}.jsonl"


def make_world(folder, *, hostile=False):
    """A model that was trained on 70 rows, ten of which teach the same; and its store."""
    save_model(folder / "base")
    records = [
        {
            "id": row.id,
            "instruction": row.instruction,
            "context": "",
            "response": row.completion,
            "owner": "ann" if row.id < "p" else "bo",
        }
        for row in planted_rows(planted=10, others=60)
    ]
    model, data = "tuned", "rows.jsonl"
    if hostile:
        model, data = MODEL, DATA
        records[0] |= {
            "id": IMAGE,
            "instruction": f"{SCRIPT} what is {IMAGE}",
            "response": f"{SCRIPT} {IMAGE} \u202e blue",
            "owner": SCRIPT,
        }
    write_rows(folder / data, records)
    fine_tune(
        TrainConfig(
            model=str(folder / "base"), data=folder / data, output_dir=folder / model, epochs=3, batch_size=8, lora_r=4, learning_rate=5e-3, dtype="float32"
        )
    )  # fmt: skip
    options = [
        "--model",
        folder / model,
        "--data",
        folder / data,
        "--store",
        folder / "store",
        "--dimension",
        4096,
        "--dtype",
        "float32",
        "--quiet",
    ]
    assert main(["cache", *map(str, options)]) == 0
    return folder


def first_row(folder, data="rows.jsonl"):
    return json.loads((folder / data).read_text(encoding="utf-8").splitlines()[0])
