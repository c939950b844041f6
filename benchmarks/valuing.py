"""Can a small model learn what rows are worth, and does choosing by it matter? On a mixture of useful, useless, wrong and poisoned rows.

    python benchmarks/valuing.py CASE        benchmarks/results/valuing_CASE.json
    python benchmarks/valuing.py large       benchmarks/results/valuing_large.json

Cases: `generated` (5,000 rows of eighteen kinds; the task is sorting) and `dolly` (short rows of Dolly's categories; the task is classification; needs
../shared/data). SmolLM2-135M is warmed up on a random tenth of the pool, LinFiK values all rows for two tasks there, and ALinFiK is
fitted on a random tenth of those values, once for each seed. Then each scorer's top tenth is what SmolLM2-135M is fine-tuned on, and the first
task's held-out loss is measured. Rows that ALinFiK was fitted on do not count in the correlation. What is on the disk, under
runs/bench/valuing-CASE, is not made again. `large` is the generated mixture five times over, with the model of `generated`: students are fitted on a tenth of
19,000 rows, and checked on 1,500 others, the only ones beside that tenth which LinFiK values.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from unweave.attribution.baselines import random_scores
from unweave.data.encoding import EncodingConfig
from unweave.data.training_rows import read_training_rows
from unweave.files import remembered, write_json, write_jsonl
from unweave.jobs.value_curve import learning_curves
from unweave.jobs.value_fit import fit_student
from unweave.jobs.value_predict import predict_values
from unweave.jobs.value_score import score_rows
from unweave.models.packaged import NAME
from unweave.run.folder import environment
from unweave.stats.intervals import across_seeds, paired_difference, rank_correlation
from unweave.stats.ranking import average_precision, top_overlap
from unweave.train.config import DataConfig, TrainConfig
from unweave.train.sft import fine_tune
from unweave.valuation.config import CurveConfig, FitConfig, PredictConfig, ScoreConfig
from unweave.valuation.fitting import sampling_order
from unweave.valuation.table import read_table, write_table
from valuing_mixtures import Mixture, dolly, generated

ENCODING = EncodingConfig(system_prompt="", max_length=256)
TRAINING: dict[str, Any] = {
    **asdict(ENCODING), "epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "lora_alpha": 32, "lora_dropout": 0.0,
}  # fmt: skip
ROWS = DataConfig()
CASES = "generated", "dolly"
MIXTURES = {"generated": generated, "dolly": dolly, "large": lambda: generated(5)}
CHECKED = 1500
WARM_UP, BUDGET, FITTED = 10, 10, 10
"""One part in so many: of the pool to warm up on, to choose, to fit on."""
VARIANTS: dict[str, dict[str, Any]] = {
    "smollm2, kernel": {"loss": "kernel", "student": NAME, "held_out": 0.05},
    "minilm, regression": {"loss": "regression"},
    "minilm, pairwise": {"loss": "pairwise"},
    "minilm, listwise": {"loss": "listwise"},
}

CHOOSERS = {"smollm2, kernel": "alinfik", "minilm, regression": "alinfik-minilm"}


@dataclass(frozen=True)
class Work:
    """A case on the disk.

    Attributes:
        folder: Where everything is.
        mixture: The rows.
        pool: The candidates' file.
    """

    folder: Path
    mixture: Mixture
    pool: Path

    @property
    def task(self) -> str:
        """The task that rows are chosen for."""
        return next(iter(self.mixture.tasks))


def prepared(name: str) -> Work:
    """Write the mixture's files."""
    work = Work(
        Path("runs/bench") / f"valuing-{name}", MIXTURES[name](), Path("runs/bench") / f"valuing-{name}/pool.jsonl"
    )
    write_jsonl(work.folder / "test.jsonl", [row.to_record() for row in work.mixture.test])
    write_jsonl(work.pool, [row.to_record() for row in work.mixture.pool])
    for task, rows in work.mixture.tasks.items():
        write_jsonl(work.folder / f"{task}.jsonl", [row.to_record() for row in rows])
    return work


def valued(work: Work) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """LinFiK's values and the baselines' scores of all rows, and the seconds that values alone took."""
    size = len(work.mixture.pool)
    warm = fine_tune(TrainConfig(data=work.pool, output_dir=work.folder / "warm", limit=size // WARM_UP, **TRAINING))
    final = fine_tune(TrainConfig(data=work.pool, output_dir=work.folder / "all", **TRAINING))
    common: dict[str, Any] = {
        **asdict(ENCODING), "model": str(warm.folder), "data": work.pool,
        "tasks": tuple(f"{task}={work.folder / task}.jsonl" for task in work.mixture.tasks),
    }  # fmt: skip

    def alone() -> dict[str, float]:
        found = score_rows(ScoreConfig(output=work.folder / "linfik.parquet", **common))
        return {"seconds": found.seconds, "rows": found.rows}

    spent = remembered(work.folder / "linfik.json", {"rows": size}, alone, key="spent", what="Seconds of LinFiK")
    output = work.folder / "scores.parquet"
    if not output.is_file():
        baselines: Any = ("length", "perplexity", "ifd", "bm25", "embedding", "gradnorm", "less", "tracin")
        score_rows(ScoreConfig(output=output, baselines=baselines, tracin_model=str(final.folder), **common))
    return read_table(output), spent


def fitted(work: Work, seed: int, variant: str, data: Path | None = None) -> dict[str, Any]:
    """A student of the values of a tenth of the rows, and what it says of all rows, or of those of a file."""
    size = len(work.mixture.pool) // FITTED
    folder = work.folder / f"student-{seed}-{variant.replace(', ', '-')}"
    student = fit_student(
        FitConfig(
            **asdict(ENCODING), values=work.folder / "linfik.parquet", data=data or work.pool, output_dir=folder, rows=size, seed=seed, **VARIANTS[variant],
        )
    )  # fmt: skip
    told = predict_values(
        PredictConfig(student=folder, data=data or work.pool, output_dir=work.folder / f"{folder.name}-values")
    )
    return {
        "rows": size,
        "epochs": student.epochs,
        "kept_epoch": student.kept_epoch,
        "fit_seconds": student.seconds,
        "rows_per_second": told.rows_per_second,
        "own_metrics": student.metrics,
        "values": str(told.folder / "values.parquet"),
    }


def agreement(
    work: Work, table: dict[str, list[Any]], scores: dict[str, list[float]], places: Sequence[int]
) -> dict[str, Any]:
    """Spearman's correlation and the overlap of the top tenth with LinFiK, for each task."""
    found = {}
    for task in work.mixture.tasks:
        truth, told = (np.array([column[place] for place in places]) for column in (table[task], scores[task]))
        found[task] = {"spearman": rank_correlation(told, truth), "top_overlap": top_overlap(told, truth)}
    return found


def at_the_bottom(work: Work, ids: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    """auPRC of poisoned rows, and of wrong ones of both kinds, when the rows worth least come first."""
    parts = {row.id: row.meta["part"] for row in work.mixture.pool}
    worst = [-score if score == score else 0.0 for score in scores]
    own = [parts[row_id] for row_id in ids]
    return {
        "poisoned": average_precision([part == "poisoned" for part in own], worst),
        "poisoned_or_noisy": average_precision([part in ("poisoned", "noisy") for part in own], worst),
        "by_chance": fmean(part == "poisoned" for part in own),
    }


def chosen_and_trained(work: Work, scores: dict[str, Sequence[float]], ids: Sequence[str], seed: int) -> dict[str, Any]:
    """Fine-tune on each scorer's top tenth: held-out losses of the task, and what was chosen."""
    folder = work.folder / f"curves-{seed}"
    write_table(folder / "scores.parquet", {"id": ids, **scores})
    curves = learning_curves(
        CurveConfig(
            **TRAINING, data=work.pool, values=folder / "scores.parquet", test=work.folder / "test.jsonl", output_dir=folder, seeds=(seed,),
            scores=tuple(scores), shares=(1 / BUDGET,),
        )
    )  # fmt: skip
    found: dict[str, Any] = {"before": curves.before}
    for point in curves.points:
        chosen = folder / "runs" / f"{point.column}-{point.share}-{seed}" / "chosen.jsonl"
        parts = [row.meta["part"] for row in read_training_rows(chosen, ROWS)]
        counts = {part: parts.count(part) for part in sorted(set(parts))}
        found[point.column] = {"losses": point.row_losses, "parts": counts}
        print(f"seed {seed}, {point.column}: loss {point.loss.value:.3f}, {counts}", flush=True)
    return found


def compared(work: Work, table: dict[str, list[Any]], student: dict[str, Any], seed: int) -> dict[str, list[float]]:
    """What a student says of the table's rows, in their order; its agreement with the table is put into its record."""
    told = read_table(Path(student["values"]))
    by_id = {row_id: place for place, row_id in enumerate(told["id"])}
    scores = {name: [told[name][by_id[row_id]] for row_id in table["id"]] for name in work.mixture.tasks}
    student["agreement"] = agreement(work, table, scores, sampling_order(len(table["id"]), seed)[student["rows"] :])
    return scores


def large(seeds: Sequence[int]) -> None:
    """Students of a tenth of a large pool."""
    work = prepared("large")
    size, warm = len(work.mixture.pool) // FITTED, Path("runs/bench/valuing-generated/warm")
    sample = work.folder / "sample.jsonl"
    write_jsonl(sample, [row.to_record() for row in work.mixture.pool[: size + CHECKED]])
    scored = score_rows(
        ScoreConfig(
            **asdict(ENCODING), model=str(warm), data=sample, output=work.folder / "linfik.parquet",
            tasks=tuple(f"{task}={work.folder / task}.jsonl" for task in work.mixture.tasks),
        )
    )  # fmt: skip
    table, students = read_table(scored.output), {}
    for seed in seeds:
        variant = "smollm2, kernel"
        student = fitted(work, seed, variant, sample)
        compared(work, table, student, seed)
        students.setdefault(variant, []).append(student)
        print(f"seed {seed}, {variant}: {student['agreement']}", flush=True)
    write_result("large", work, seeds, {"seconds": scored.seconds, "rows": scored.rows}, students, {})


def write_result(
    case: str,
    work: Work,
    seeds: Sequence[int],
    spent: dict[str, Any],
    students: dict[str, list[dict[str, Any]]],
    more: dict[str, Any],
) -> None:
    """The result file."""
    path = Path(__file__).parent / "results" / f"valuing_{case}.json"
    result = {
        "command": f"python benchmarks/valuing.py {case}", "environment": environment(), "seeds": seeds, "model": NAME, "tasks": list(work.mixture.tasks),
        "pool": _counts(work), "linfik": spent, "students": {variant: _student(own) for variant, own in students.items()}, **more,
    }  # fmt: skip
    write_json(path, result)
    print(f"written: {path}")


def main() -> None:
    """Value, fit, choose, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=[*CASES, "large"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.case == "large":
        large(options.seeds)
        return
    work = prepared(options.case)
    table, spent = valued(work)
    ids, task = table["id"], work.task
    students: dict[str, list[dict[str, Any]]] = {}
    runs: dict[str, list[dict[str, Any]]] = {}
    bottom: dict[str, list[dict[str, float]]] = {}
    before = float("nan")
    fixed = {
        "linfik": table[task], "length": table["length"], "perplexity": table["perplexity"], "ifd": table["ifd"], "gradnorm": table["gradnorm"],
        **{name: table[f"{name}.{task}"] for name in ("bm25", "embedding", "less", "tracin")},
    }  # fmt: skip
    for seed in options.seeds:
        own: dict[str, Sequence[float]] = dict(fixed)
        own["random"] = random_scores(len(ids), seed=seed)
        # The other losses are compared on one case and seed only.
        all_of_them = options.case == CASES[0] and seed == options.seeds[0]
        for variant in VARIANTS if all_of_them else list(VARIANTS)[:2]:
            student = fitted(work, seed, variant)
            scores = compared(work, table, student, seed)
            students.setdefault(variant, []).append(student)
            print(f"seed {seed}, {variant}: {student['agreement']}", flush=True)
            if variant in CHOOSERS:
                own[CHOOSERS[variant]] = scores[task]
        for name, scores in own.items():
            bottom.setdefault(name, []).append(at_the_bottom(work, ids, scores))
        done = chosen_and_trained(work, own, ids, seed)
        before = done.pop("before")
        for name, run in done.items():
            runs.setdefault(name, []).append(run)
    more = {
        "loss_before": before,
        "selection": _selection(runs),
        "bottom": {
            name: {key: across_seeds([one[key] for one in own]).to_json() for key in own[0]}
            for name, own in bottom.items()
        },
    }
    write_result(options.case, work, options.seeds, spent, students, more)


def _counts(work: Work) -> dict[str, int]:
    parts = [row.meta["part"] for row in work.mixture.pool]
    return {part: parts.count(part) for part in sorted(set(parts))} | {
        "all": len(parts),
        "test": len(work.mixture.test),
    }


def _student(own: list[dict[str, Any]]) -> dict[str, Any]:
    """A student's agreement with LinFiK and its costs, over seeds."""
    tasks = {
        task: {key: across_seeds([one["agreement"][task][key] for one in own]).to_json() for key in values}
        for task, values in own[0]["agreement"].items()
    }
    keys = ("fit_seconds", "rows_per_second", "epochs")
    return {
        "rows": own[0]["rows"],
        "tasks": tasks,
        **{key: across_seeds([one[key] for one in own]).to_json() for key in keys},
    }


def _selection(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Each scorer's held-out loss over seeds, and its distance from ALinFiK's: paired over seeds, and over test rows of the seeds' mean losses."""
    found = {}
    means = {name: np.mean([run["losses"] for run in own], axis=0) for name, own in runs.items()}
    for name, own in runs.items():
        by_seed = [fmean(run["losses"]) for run in own]
        base = [fmean(run["losses"]) for run in runs["alinfik"]]
        found[name] = {
            "loss": across_seeds(by_seed).to_json(),
            "above_alinfik_over_seeds": across_seeds([a - b for a, b in zip(by_seed, base, strict=True)]).to_json(),
            "above_alinfik_over_rows": paired_difference(means["alinfik"].tolist(), means[name].tolist()).to_json(),
            "by_seed": by_seed,
            "chosen": [run["parts"] for run in own],
        }
    return found


if __name__ == "__main__":
    main()
