"""What does forgetting cost beside retraining, and when is retraining cheaper? Times of the parts, measured, and the sizes at which they meet.

    python benchmarks/forgetting.py dolly      (makes the model, under runs/bench/dolly)
    python benchmarks/cost.py                  benchmarks/results/cost.json and docs/break_even.svg

Measured on RapidUn's Dolly rows in turns, so that a busy machine slows all parts alike: loading, training steps and unlearning steps of 8 rows, caching rows,
the weights. Retraining n rows for e epochs is a load and n e / 8 training steps; RapidUn on f forget rows and 3 f retain rows is two loads, caching them, the
weights, and one unlearning step for every 8 of them, as in the comparison of methods. All else is multiplication.
"""

import argparse
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from unweave.attribution.caching import cache_rows
from unweave.data.case import Case
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.files import write_json, write_jsonl, write_text
from unweave.jobs.forget import forget_rows
from unweave.jobs.weigh import weigh_rows
from unweave.models.loading import load
from unweave.report.plots import break_even
from unweave.run.folder import environment
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.methods.rapidun import RapidUnConfig
from unweave.weights.config import WeighConfig

BATCH, STEPS, ROUNDS = 8, 16, 3
EPOCHS = 3
SETS = {"RapidUn's Dolly set": 7_991, "RapidUn's Alpaca set": 57_000}
KNOWN = (10, 40, 160, 640)
TEMPLATE: dict[str, Any] = {"system_prompt": "", "max_length": 256}


def that_fit(case: Case, model: str) -> dict[str, list[Row]]:
    """The case's rows that no step and no store leaves out for their length."""
    tokenizer, encoding = load(model).tokenizer, EncodingConfig(**TEMPLATE)
    found = {}
    for name in ("forget", "retain", "train"):
        rows = case.rows(name)
        known = {example.row_id for example in encode_rows(rows, tokenizer, encoding).examples}
        found[name] = [row for row in rows if row.id in known]
    return found


def one_round(rows: dict[str, list[Row]], model: str, folder: Path) -> dict[str, float]:
    """Seconds of each part: of a load, a step, a row."""
    shutil.rmtree(folder, ignore_errors=True)
    count = BATCH * STEPS
    # Evenly from all, so that their lengths are those of the whole.
    train = rows["train"][:: len(rows["train"]) // count][:count]
    forget, retain = rows["forget"][: count // 4], rows["retain"][: 3 * count // 4]
    files = {name: folder / f"{name}.jsonl" for name in ("forget", "retain", "train")}
    for name, chosen in (("forget", forget), ("retain", retain), ("train", train)):
        write_jsonl(files[name], [row.to_record() for row in chosen])
    started = time.perf_counter()
    load(model)
    seconds = {"load": time.perf_counter() - started}
    trained = fine_tune(
        TrainConfig(
            data=files["train"], output_dir=folder / "trained", epochs=1, batch_size=BATCH, lora_dropout=0.0, **TEMPLATE
        )
    )
    seconds["training step"] = trained.seconds / trained.steps
    cached = sum(
        cache_rows(CacheConfig(model=model, data=files[name], store=folder / "store", **TEMPLATE)).seconds
        for name in ("forget", "retain")
    )
    seconds["cached row"] = cached / (len(forget) + len(retain))
    weights: dict[str, Any] = {"output_forget": folder / "wf", "output_retain": folder / "wr"}
    weighing = weigh_rows(
        WeighConfig(store=folder / "store", forget=files["forget"], retain=files["retain"], **weights)
    )
    seconds["weights"] = weighing.seconds
    done = forget_rows(
        RapidUnConfig(
            model=model, forget=files["forget"], retain=files["retain"], forget_weights=weights["output_forget"], retain_weights=weights["output_retain"],
            output_dir=folder / "unlearned", adapter_mode="continue", epochs=1.0, batch_size=BATCH, **TEMPLATE,
        )
    )  # fmt: skip
    seconds["unlearning step"] = done.seconds / done.steps
    return seconds


def retraining(rows: int, seconds: dict[str, float]) -> float:
    """Seconds of training again on so many rows."""
    return seconds["load"] + rows * EPOCHS / BATCH * seconds["training step"]


def forgetting(known: int, seconds: dict[str, float], *, stored: bool = False) -> float:
    """Seconds of RapidUn on so many known rows; with a store of the training rows, as tracing has made it, their gradients are there."""
    rows = 4 * known
    steps = rows / BATCH * seconds["unlearning step"]
    caching = 0.0 if stored else seconds["load"] + rows * seconds["cached row"]
    return seconds["load"] + caching + seconds["weights"] + steps


def main() -> None:
    """Measure, multiply, write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(2)
    folder = Path("runs/bench/cost")
    case = Case(Path("runs/bench/dolly/case"), "dolly", "")
    model = "runs/bench/dolly/poisoned"
    rows = that_fit(case, model)
    rounds = [one_round(rows, model, folder) for _ in range(ROUNDS)]
    middle = {name: median(own[name] for own in rounds) for name in rounds[0]}
    sets = [
        {
            "set": name, "rows": size, "known": known, "retrain": retraining(size, middle),
            **{
                label: {
                    "seconds": forgetting(known, middle, stored=stored),
                    "times_cheaper": [retraining(size, own) / forgetting(known, own, stored=stored) for own in rounds],
                }
                for label, stored in (("rapidun", False), ("stored", True))
            },
        }
        for name, size in SETS.items() for known in KNOWN
    ]  # fmt: skip
    meet = [
        {"known": known, "rows": forgetting(known, middle) / (EPOCHS / BATCH * middle["training step"])}
        for known in KNOWN
    ]
    for entry in sets:
        told = ", ".join(f"{label} {median(entry[label]['times_cheaper']):.0f}" for label in ("rapidun", "stored"))
        print(f"{entry['set']} ({entry['rows']} rows), {entry['known']} known, times cheaper: {told}")
    for entry in meet:
        print(f"{entry['known']} known rows: retraining is cheaper below {entry['rows']:.0f} training rows")
    sizes = [round(10 ** (2 + step / 8)) for step in range(25)]
    curves = {f"RapidUn, {known} known": [forgetting(known, middle)] * len(sizes) for known in KNOWN}
    figure = break_even(sizes, [retraining(size, middle) for size in sizes], curves)
    write_text(Path("docs/break_even.svg"), figure)
    write_json(
        Path(__file__).parent / "results" / "cost.json",
        {
            "command": "python benchmarks/cost.py", "environment": environment(), "epochs": EPOCHS, "batch_size": BATCH,
            "seconds": rounds, "sets": sets, "break_even": meet,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
