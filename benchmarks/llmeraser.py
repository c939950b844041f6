"""LLMEraser beside retraining: how near does the edit come, how well is its system solved, and how much cheaper is it?

    python benchmarks/llmeraser.py        benchmarks/results/llmeraser.json

Removal of 40 right rows, drawn by the seed, from a model trained on 800 generated rows (no poison: what remains to be seen is what the rows themselves
had taught), beside a model retrained without them. Losses of the removed rows, of kept rows and of held-out rows; accuracy on held-out
questions. The curvature is made of 64 training rows. What is on the disk, under runs/bench/llmeraser, is not made again.
"""

import argparse
import random
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from unweave.audit.forced import forced_pass
from unweave.audit.statistics import across_seeds
from unweave.data.encoding import EncodingConfig
from unweave.data.generated import check_answer, generate
from unweave.data.rows import Row
from unweave.files import write_json, write_jsonl
from unweave.forget.methods.llmeraser import LlmEraserConfig
from unweave.forget.stage import forget_rows
from unweave.models.generation import greedy_answers
from unweave.models.loading import load
from unweave.runs import environment
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune

ROWS = 800
ENCODING = EncodingConfig(system_prompt="", max_length=256)
SETTINGS: dict[str, dict[str, Any]] = {
    "damping 0.1": {"damping": 0.1},
    "damping 1": {"damping": 1.0},
    "damping 1, curvature of 16 rows": {"damping": 1.0, "curvature_rows": 16},
}


def measure(model: str, sets: dict[str, list[Row]]) -> dict[str, float]:
    """Losses of all sets, and the share of right answers on held-out questions."""
    loaded = load(model)
    forced = forced_pass(loaded, sets, ENCODING, description="measure")
    found = {name: fmean(values.mean_losses()) for name, values in forced.items()}
    held_out = sets["held out"]
    answers = greedy_answers(loaded, held_out, ENCODING, max_new_tokens=24, description="answers")
    right = [
        check_answer(answer, row.completion, row.meta["keywords"])
        for row, answer in zip(held_out, answers, strict=True)
    ]
    return {**found, "accuracy": fmean(right)}


def main() -> None:
    """Train, edit, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    torch.set_num_threads(2)
    folder = Path("runs/bench/llmeraser")
    data = generate(train_rows=ROWS, held_out_rows=108)
    write_jsonl(folder / "train.jsonl", [row.to_record() for row in data.train])
    training: dict[str, Any] = {
        **ENCODING.__dict__, "data": folder / "train.jsonl", "epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "lora_alpha": 64, "lora_dropout": 0.0,
    }  # fmt: skip
    whole = fine_tune(TrainConfig(output_dir=folder / "whole", **training))
    runs = []
    for seed in seeds:
        rng = random.Random(seed)
        chosen = rng.sample(data.train, 400)
        removed, kept, curvature = chosen[:40], chosen[40:100], chosen[100:124]
        paths = {"removed": folder / f"removed-{seed}.jsonl", "curvature": folder / f"curvature-{seed}.jsonl"}
        write_jsonl(paths["removed"], [row.to_record() for row in removed])
        write_jsonl(paths["curvature"], [row.to_record() for row in curvature])
        sets = {"removed": removed, "kept": kept, "held out": data.held_out}
        retrained = fine_tune(
            TrainConfig(output_dir=folder / f"retrained-{seed}", without=paths["removed"], **training)
        )
        run: dict[str, Any] = {
            "seed": seed,
            "retraining_seconds": retrained.seconds,
            "before": measure(str(whole.folder), sets),
            "retrained": measure(str(retrained.folder), sets),
        }
        for name, options in SETTINGS.items():
            started = time.monotonic()
            done = forget_rows(
                LlmEraserConfig(
                    **ENCODING.__dict__, model=str(whole.folder), forget=paths["removed"], retain=paths["curvature"], training_rows=len(data.train),
                    output_dir=folder / f"edited-{seed}-{name.replace(' ', '_').replace(',', '')}", **options,
                )
            )  # fmt: skip
            spent = done.seconds or time.monotonic() - started
            run[name] = {
                **measure(str(done.folder), sets),
                **done.details,
                "seconds": spent,
                "times_cheaper": retrained.seconds / spent,
            }
            print(
                f"seed {seed}, {name}: residual {done.details['residual']:.2g}, {done.details['products']} products, "
                f"{run[name]['times_cheaper']:.1f} times cheaper"
            )
        runs.append(run)
    table = {}
    for name in ("before", *SETTINGS):
        gaps = {
            key: across_seeds([abs(run[name][key] / run["retrained"][key] - 1) for run in runs]).to_json()
            for key in run["retrained"]
        }
        table[name] = {"distance_from_retrained": gaps}
        if name != "before":
            table[name] |= {
                key: across_seeds([float(run[name][key]) for run in runs]).to_json()
                for key in ("residual", "products", "times_cheaper")
            }
        print(name, {key: f"{gap['value']:.1%}" for key, gap in gaps.items()})
    path = Path(__file__).parent / "results" / "llmeraser.json"
    command = f"python benchmarks/llmeraser.py --seeds {' '.join(map(str, seeds))}"
    write_json(
        path,
        {"command": command, "environment": environment(), "seeds": seeds, "rows": ROWS, "table": table, "runs": runs},
    )


if __name__ == "__main__":
    main()
