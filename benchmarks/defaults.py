"""Each method at its defaults: forty rows to forget of 240 that a model knows by heart.

    python benchmarks/defaults.py                    benchmarks/results/defaults.json (needs ../shared/data/tofu)
    python benchmarks/defaults.py --methods npo rmu  these only; what the file has of others stays

SmolLM2-135M learns 240 TOFU rows (twelve authors) by heart; two authors are to be forgotten, the others kept. Nothing but the rows is given to a method: every
option is at its default. Defaults were chosen on one case (`--case chosen`, the first twelve authors of TOFU), and are reported on another (`reported`, twelve
authors from the middle). Loss of the rows to forget and of 64 to keep, in nats a token; how many greedy answers to their questions still begin with
the row's first eight words; seconds without loading, and processor seconds with it, which other work on the machine changes less. `--set learning_rate=3e-4`
changes an option, and says so in its row: that is how defaults were chosen.

Each method is written as soon as it is measured. What is on the disk, under --folder, is not trained again.
"""

import argparse
import shutil
import time
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml

from result_files import RESULTS
from unweave.config import to_plain
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import read_rows
from unweave.data.rows import Row
from unweave.errors import UnweaveError
from unweave.files import read_json, write_json, write_jsonl
from unweave.gradients.scoring import row_losses
from unweave.jobs.forget import forget_rows
from unweave.models.generation import greedy_answers
from unweave.models.loading import load
from unweave.run.folder import environment
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import METHODS

FIRST = {"chosen": 0, "reported": 2000}
ROWS, FORGOTTEN, WORDS, MEASURED = 240, 40, 8, 64
ENCODING = EncodingConfig(system_prompt="", max_length=256)
TRAINING: dict[str, Any] = {
    "epochs": 8, "batch_size": 8, "learning_rate": 1e-3, "lora_alpha": 32, "lora_dropout": 0.0
}  # fmt: skip


def rows_of(source: Path, case: str, folder: Path) -> dict[str, list[Row]]:
    """The rows of a case, written where methods read them."""
    rows = read_rows(source).rows[FIRST[case] :][:ROWS]
    sets = {"train": rows, "forget": rows[:FORGOTTEN], "retain": rows[FORGOTTEN:]}
    for name, own in sets.items():
        write_jsonl(folder / f"{name}.jsonl", [row.to_record() for row in own])
    return sets


def measure(model: Path, sets: dict[str, list[Row]]) -> dict[str, Any]:
    """Losses, and answers that begin as the rows do."""
    loaded = load(str(model))
    found: dict[str, Any] = {
        f"{name}_loss": fmean(row_losses(loaded, sets[name][:MEASURED], ENCODING).means())
        for name in ("forget", "retain")
    }
    answers = greedy_answers(loaded, sets["forget"], ENCODING, max_new_tokens=3 * WORDS)
    begins = [
        answer.split()[:WORDS] == row.completion.split()[:WORDS]
        for answer, row in zip(answers, sets["forget"], strict=True)
    ]
    return found | {"verbatim": sum(begins)}


def forget(name: str, model: Path, folder: Path, options: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A run with nothing but rows, and what it says of itself."""
    kind = config_of(name)
    out = folder / "unlearned"
    shutil.rmtree(out, ignore_errors=True)
    given: dict[str, Any] = {"model": str(model), "forget": folder / "forget.jsonl", "output_dir": out}
    if name != "retrain":
        given |= {**ENCODING.__dict__, "retain": folder / "retain.jsonl"}
    own = {field.name for field in fields(kind)}
    result = forget_rows(kind(**given, **{key: value for key, value in options.items() if key in own}))
    details = {key: value for key, value in to_plain(result.details).items() if key != "watched"}
    run = {"seconds": result.seconds, "steps": result.steps, "stopped": result.stopped, "details": details}
    return out, run


def main() -> None:
    """Train, forget with each method, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tofu"))
    parser.add_argument("--case", choices=FIRST, default="reported")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench/defaults"))
    parser.add_argument(
        "--model", type=Path, help="a model that has learned the rows already, in the place of one trained here"
    )
    parser.add_argument(
        "--result",
        type=Path,
        help="by default benchmarks/results/defaults.json, of the other case defaults_chosen.json",
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--set", nargs="+", default=[], help="OPTION=VALUE")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    changed = {name: yaml.safe_load(value) for name, _, value in (pair.partition("=") for pair in options.set)}
    changed = {name: float(value) if name == "learning_rate" else value for name, value in changed.items()}
    folder = options.folder / options.case
    path = options.result or RESULTS / ("defaults.json" if options.case == "reported" else "defaults_chosen.json")
    sets = rows_of(options.data / "full.jsonl", options.case, folder)
    model = options.model or folder / "model"
    if options.model is None:
        fine_tune(TrainConfig(**ENCODING.__dict__, **TRAINING, data=folder / "train.jsonl", output_dir=model))
    result: dict[str, Any] = read_json(path, what="The result") if path.is_file() else {"methods": {}}
    result |= {
        "command": f"python benchmarks/defaults.py --case {options.case} --threads {options.threads}",
        "environment": environment(), "case": options.case, "rows": ROWS, "forget_rows": FORGOTTEN,
        "training": TRAINING, "verbatim_words": WORDS,
    }  # fmt: skip
    if "before" not in result:
        result["before"] = measure(model, sets)
        print("before", result["before"], flush=True)
    for name in options.methods:
        label, started = " ".join([name, *options.set]), time.monotonic()
        before = time.process_time()
        try:
            out, run = forget(name, model, folder, changed)
            spent = time.process_time() - before
            row = {**measure(out, sets), **run, "cpu_seconds": round(spent, 1)}
        except UnweaveError as error:
            row = {"refused": str(error)}
        result["methods"][label] = row
        write_json(path, result)
        print(f"{label}: {row}; {time.monotonic() - started:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
