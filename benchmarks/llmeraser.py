"""LLMEraser beside retraining: how near does the edit come, how well is its system solved, and how much cheaper is it?

    python benchmarks/llmeraser.py                            benchmarks/results/llmeraser.json (needs ../shared/data/dolly_clean)
    python benchmarks/llmeraser.py --rows 2100 --seeds 0      benchmarks/results/llmeraser_2100.json

Removal of 40 rows, drawn by the seed, from a model trained on 600 Dolly rows, or as many as said, beside a model retrained without them. For 600, a third
training, without the same rows and with other seeds for adapter and order, says how far apart two retrained models are: no edit can be asked to come nearer.
Loss and share of right tokens on removed, kept and held-out rows; the held-out rows that set the edit's target are others. What is on the disk, under
runs/bench/llmeraser-dolly (-ROWS), is not made again; `--trainings NAME ...` makes some of the models only, for a process of its own.
"""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.reading import read_rows
from unweave.data.rows import Row
from unweave.evaluation.forced import forced_pass
from unweave.files import write_json, write_jsonl
from unweave.jobs.forget import ForgetResult, forget_rows
from unweave.models.loading import load
from unweave.run.folder import environment
from unweave.stats.intervals import across_seeds
from unweave.train.config import TrainConfig
from unweave.train.sft import TrainResult, fine_tune
from unweave.unlearning.config import config_of

SOURCE = Path("../shared/data/dolly_clean/dolly_clean.jsonl")
ROWS, REMOVED, KEPT, HELD_OUT, TARGET, CURVATURE, LONGEST = 600, 40, 60, 120, 60, 64, 200
ENCODING = EncodingConfig(system_prompt="", max_length=256)
SETTINGS: dict[str, dict[str, Any]] = {
    "the formula": {"curvature_rows": 32, "damping": 0.1},
    "to the target": {"curvature_rows": 32, "damping": 0.1},
    "to the target, damping 0.01": {"curvature_rows": 32, "damping": 0.01},
    "to the target, damping 0.01, as hard": {"curvature_rows": 32, "damping": 0.01, "target_reference": "smollm2-135m"},
    "to the target, damping 0.01, as hard, 64 rows": {"curvature_rows": 64, "damping": 0.01, "target_reference": "smollm2-135m"},
    "a path of rounds, damping 0.01, as hard": {"curvature_rows": 32, "damping": 0.01, "target_reference": "smollm2-135m", "rounds": 8},
    "to the target, plain": {"curvature_rows": 26, "damping": 0.1, "curvature_from": "all", "metric": "identity"},
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """How many rows are trained on, and where its files are.

    Attributes:
        rows: Training rows.
    """

    rows: int

    @property
    def folder(self) -> Path:
        """Of models and rows."""
        return Path("runs/bench") / ("llmeraser-dolly" if self.rows == ROWS else f"llmeraser-dolly-{self.rows}")

    @property
    def result(self) -> Path:
        """What is written."""
        name = "llmeraser.json" if self.rows == ROWS else f"llmeraser_{self.rows}.json"
        return Path(__file__).parent / "results" / name


def split(place: Place) -> dict[str, list[Row]]:
    """Training rows, held-out rows, and the rows of the target; none of more than 200 tokens."""
    rows = read_rows(SOURCE).rows
    fitting = {
        one.row_id
        for one in encode_rows(rows, load("smollm2-135m").tokenizer, ENCODING).examples
        if len(one) <= LONGEST
    }
    rows = [row for row in rows if row.id in fitting]
    random.Random(0).shuffle(rows)
    sizes, out = {"train": place.rows, "held out": HELD_OUT, "target": TARGET}, {}
    for name, size in sizes.items():
        out[name], rows = rows[:size], rows[size:]
        write_jsonl(place.folder / f"{name.replace(' ', '_')}.jsonl", [row.to_record() for row in out[name]])
    return out


def train(place: Place, name: str, drawn: list[Row] | None = None) -> TrainResult:
    """The whole model, or one retrained without rows; `again` differs in its seed."""
    kind, _, seed = name.partition("-")
    options: dict[str, Any] = {}
    if drawn is not None:
        options["without"] = place.folder / f"removed-{seed}.jsonl"
        write_jsonl(options["without"], [row.to_record() for row in drawn])
    return fine_tune(
        TrainConfig(
            **ENCODING.__dict__, data=place.folder / "train.jsonl", output_dir=place.folder / name, epochs=3, batch_size=8, learning_rate=1e-3, lora_alpha=64,
            lora_dropout=0.0, seed=100 + int(seed) if kind == "again" else 0, **options,
        )
    )  # fmt: skip


def measure(model: str, sets: dict[str, list[Row]]) -> dict[str, float]:
    """Mean loss and share of right tokens of all sets."""
    found = {}
    for name, values in forced_pass(load(model), sets, ENCODING, description="measure").items():
        found[f"{name}: loss"] = fmean(values.mean_losses())
        found[f"{name}: right tokens"] = fmean(fmean(map(float, hits)) for hits in values.hits)
    return found


def edit(place: Place, whole: TrainResult, name: str, seed: int) -> ForgetResult:
    """One edit."""
    target = {} if name == "the formula" else {"target": place.folder / "target.jsonl"}
    return forget_rows(
        config_of("llmeraser")(
            **ENCODING.__dict__, model=str(whole.folder), forget=place.folder / f"removed-{seed}.jsonl", retain=place.folder / f"curvature-{seed}.jsonl",
            training_rows=place.rows, output_dir=place.folder / f"edited-{seed}-{name.replace(' ', '_').replace(',', '')}", **target, **SETTINGS[name],
        )
    )  # fmt: skip


def main() -> None:
    """Train, edit, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trainings", nargs="+", help="make these models only: whole, retrained-SEED, again-SEED")
    options = parser.parse_args()
    torch.set_num_threads(2)
    place = Place(options.rows)
    rows = split(place)
    draws = {seed: random.Random(seed).sample(rows["train"], REMOVED + KEPT + CURVATURE) for seed in options.seeds}
    if options.trainings:
        for name in options.trainings:
            train(place, name, None if name == "whole" else draws[int(name.partition("-")[2])][:REMOVED])
        return
    whole, runs = train(place, "whole"), []
    for seed, drawn in draws.items():
        removed, kept, curvature = drawn[:REMOVED], drawn[REMOVED : REMOVED + KEPT], drawn[REMOVED + KEPT :]
        write_jsonl(place.folder / f"curvature-{seed}.jsonl", [row.to_record() for row in curvature])
        sets = {"removed": removed, "kept": kept, "held out": rows["held out"]}
        retrained = train(place, f"retrained-{seed}", removed)
        run: dict[str, Any] = {
            "seed": seed,
            "retraining_seconds": retrained.seconds,
            "before": measure(str(whole.folder), sets),
            "retrained": measure(str(retrained.folder), sets),
        }
        for name in SETTINGS:
            done = edit(place, whole, name, seed)
            told = {key: done.details[key] for key in ("residual", "products", "scale")}
            cheaper = retrained.seconds / done.seconds
            run[name] = {**measure(str(done.folder), sets), **told, "seconds": done.seconds, "times_cheaper": cheaper}
            print(f"seed {seed}, {name}: {told}, {cheaper:.1f} times cheaper", flush=True)
        if place.rows == ROWS:
            run["again"] = measure(str(train(place, f"again-{seed}", removed).folder), sets)
        runs.append(run)
    write_json(
        place.result,
        {
            "command": f"python benchmarks/llmeraser.py --rows {place.rows} --seeds {' '.join(map(str, options.seeds))}",
            "environment": environment(), "seeds": options.seeds, "rows": place.rows, "removed": REMOVED, "table": table(runs), "runs": runs,
            "rows_for_a_30th": {
                name: median(30 * run[name]["seconds"] / (run["retraining_seconds"] / place.rows) for run in runs) for name in SETTINGS
            },
        },
    )  # fmt: skip


def table(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Each model's distance from the retrained one, as a share of its value, and what the edits took; over seeds."""
    found: dict[str, Any] = {}
    for name in ("before", "again", *SETTINGS):
        if name not in runs[0]:
            continue
        distances = {
            key: across_seeds([run[name][key] / run["retrained"][key] - 1 for run in runs]).to_json()
            for key in runs[0]["retrained"]
        }
        found[name] = {"distance_from_retrained": distances}
        if name in SETTINGS:
            found[name] |= {
                key: across_seeds([float(run[name][key]) for run in runs]).to_json()
                for key in ("residual", "products", "scale", "times_cheaper")
            }
        print(name, {key: f"{one['value']:+.1%}" for key, one in distances.items()})
    return found


if __name__ == "__main__":
    main()
