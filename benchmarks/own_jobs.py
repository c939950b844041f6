"""Every method at its own job: a case in the spirit of its paper with the paper's options, beside the common case with our defaults.

    python benchmarks/own_jobs.py                          benchmarks/results/own_jobs.json (SmolLM2 and TOFU: hours on a quiet machine)
    python benchmarks/own_jobs.py --model tiny             benchmarks/results/own_jobs_tiny.json (minutes)
    python benchmarks/own_jobs.py --methods npo rmu        these only; what the file has of others stays

JOBS below is the table of options, with what the paper says and how it was scaled: rates of full fine-tuning of 7B models are multiplied by ten for an adapter,
and, for the tiny model, by five more, as its own training needs. Each run is written as soon as it is measured, and is not made again. Of each are measured
the rows to forget, those to keep and like ones, under the model before, the one after, and one retrained without the rows: loss, how many answers still
begin as the row's, and the KL from the retrained model, in nats a token.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from own_cases import CASES, OwnCase
from result_files import RESULTS
from small_cases import TINY, Size, SmallCase, add_options, forced_figures, method_with, small_case
from unweave.errors import UnweaveError
from unweave.evaluation.forced import LogitsFile
from unweave.files import finite, read_json, write_json
from unweave.models.loading import load
from unweave.run.folder import environment
from unweave.unlearning.unlearn import unlearn

FULL_TO_ADAPTER = 10
"""What a rate of full fine-tuning is multiplied by for an adapter."""

TINY_RATE = 5
"""What rates are multiplied by besides for the tiny model: its own training's is five times SmolLM2's."""

MEASURED = 64
COMMON = "people"


@dataclass(frozen=True)
class Job:
    """A method at its own job.

    Attributes:
        case: In the spirit of the paper.
        options: The paper's, scaled.
        paper: What the paper says.
        scaled: What was changed, and why.
    """

    case: str
    options: dict[str, Any] = field(default_factory=dict)
    paper: str = ""
    scaled: str = ""


_TEN = f"rate times {FULL_TO_ADAPTER}: an adapter"
# No paper but ours ends at the base's loss.
_PAPER: dict[str, Any] = {"stop_at_base": False}
_FIVE_EPOCHS: dict[str, Any] = {**_PAPER, "epochs": 5.0, "learning_rate": 1e-4}
_TEN_EPOCHS: dict[str, Any] = {**_PAPER, "epochs": 10.0, "learning_rate": 1e-4}
JOBS = {
    "rapidun": Job(
        "triggers", {**_PAPER, "epochs": 2.0, "batch_size": 8, "learning_rate": 1e-3, "retain_ratio": 3.0, "descent": 0.5, "ascent": 1.0},
        "arXiv 2512.04457: LoRA r 16, AdamW 6e-5, batch 1, 2 epochs, retain : forget 3 : 1, descent 0.5, ascent 1",
        "batches of 8 with the rate that ours has for them: at batch 1 clipping takes what weights say",
    ),
    "llmeraser": Job(
        "few", {**_PAPER, "solver": "adam", "iterations": 20, "solver_rate": 1e-5, "damping": 0.0, "metric": "identity", "curvature_from": "all"},
        "arXiv 2412.00383, public code: Adam on the quadratic form, 20 steps of 1e-5, no damping, the curvature of all rows",
    ),
    "llmeraser path": Job("few", {"rounds": 8, "curvature_rows": 0}, "ours: a Newton path", "rounds with the curvature renewed, to the base's loss"),
    "llmeraser path, no target": Job(
        "few", {"rounds": 8, "curvature_rows": 0, **_PAPER}, "ours: a Newton path", "to where the rows that stay have the gradient that all rows had"
    ),
    "llmeraser correction": Job(
        "wrong", {"request": "correction", "rounds": 8, "curvature_rows": 0, **_PAPER},
        "arXiv 2412.00383, response correction; a path of rounds is ours",
    ),
    "stable": Job(
        "people", {**_PAPER, "epochs": 10.0, "omega": 100.0, "rank": 32, "learning_rate": 1e-4},
        "arXiv 2509.24166: sine-bounded adapters of the MLP, omega 100, rank 4 to 32, GradDiff, 10 epochs",
    ),
    "reglu": Job(
        "people", {**_PAPER, "epochs": 5.0, "learning_rate": 1e-4, "lora_r": 32, "lora_alpha": 64},
        "arXiv 2604.17396: beta 0.7, lambda 0.5, r 32, alpha 64, rate 1e-4, 5 epochs",
    ),
    "dp2": Job(
        "private", {"epochs": 4.0, "learning_rate": 1e-3}, "arXiv 2504.13774: DP-SGD, clip 1, epsilon 0.1 to 100; then the retain rows, half of the epochs",
        "half of the case's epochs, at its rate",
    ),
    "fast-ntk": Job("short", {"scaling": "trapezium", "outputs": 1}, "arXiv 2312.14923; the trapezium of arXiv 2003.02960"),
    "ga": Job("people", {**_FIVE_EPOCHS}, "TOFU, arXiv 2401.06121: 1e-5, 5 epochs", _TEN),
    "graddiff": Job("people", {**_FIVE_EPOCHS, "retain_ratio": 1.0}, "TOFU, arXiv 2401.06121: 1e-5, 5 epochs, one retain row for each", _TEN),
    "npo": Job("people", {**_TEN_EPOCHS, "beta": 0.1, "retain_ratio": 1.0}, "arXiv 2404.05868: beta 0.1, 1e-5, 10 epochs", _TEN),
    "simnpo": Job(
        "people", {**_TEN_EPOCHS, "beta": 4.5, "gamma": 0.125, "retain_ratio": 1.0}, "arXiv 2410.07163: beta 4.5, gamma 0.125, 1e-5, 10 epochs", _TEN
    ),
    "idk": Job("people", {**_FIVE_EPOCHS, "beta": 0.1, "retain_ratio": 1.0}, "TOFU, arXiv 2401.06121: 1e-5, 5 epochs, beta 0.1", _TEN),
    "wga": Job("people", {**_TEN_EPOCHS, "beta": 1.0, "retain_ratio": 1.0}, "arXiv 2502.19301: beta 1, 1e-5, 10 epochs", _TEN),
    "undial": Job("people", {**_PAPER, "epochs": 10.0, "beta": 10.0, "learning_rate": 1e-4}, "arXiv 2402.10052: beta 10, LoRA at 1e-4, 10 epochs"),
    "rmu": Job(
        "texts", {"epochs": 10.0, "learning_rate": 5e-4}, "arXiv 2403.03218: 5e-5, 80 to 150 steps of 4, down_proj of three layers",
        f"{_TEN}; steered by the states' own length (arXiv 2408.06223)",
    ),
    "ihl": Job("people", {**_PAPER, "epochs": 5.0, "learning_rate": 2e-4, "retain_ratio": 1.0}, "arXiv 2408.06621: LoRA at 2e-4, 5 epochs"),
    "distill": Job("people", {}, "ours; our defaults"),
    "retrain": Job("people", {}, "exact for what entered through the adapter"),
}  # fmt: skip
"""Method, with a word where there are several jobs of one, to its own job."""


def logits_of(case: SmallCase, own: OwnCase, name: str, sets: dict[str, Any], result: dict[str, Any]) -> LogitsFile:
    """The retrained model's logits, and what both models make of the rows, once a case."""
    logits = LogitsFile(case.folder / "logits" / f"{name}.bin", {"case": name})
    if not logits.written or name not in result["cases"]:
        retrained = forced_figures(load(str(own.retrained(case, name))), sets, case.encoding, logits)
        before = forced_figures(load(str(own.before(case, name))), sets, case.encoding, logits)
        result["cases"][name] = finite({"what": own.what, "before": before, "retrained": retrained})
    return logits


def run(
    case: SmallCase, own: OwnCase, case_name: str, method: str, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Forget, and what the run says of itself."""
    if method == "retrain":
        started = time.monotonic()
        return load(str(own.retrained(case, case_name))), {
            "seconds": round(time.monotonic() - started, 1),
            "steps": None,
        }
    if "learning_rate" in options and case.model.endswith("base"):
        options = {**options, "learning_rate": TINY_RATE * options["learning_rate"]}
    kind, given = method_with(method, options)
    retain = own.retain if kind.uses_retain else None
    made = unlearn(
        load(str(own.before(case, case_name))), own.forget, retain, method=kind, encoding=case.encoding, **given
    )
    said = {name: made.details[name] for name in ("ended", "rounds", "residual", "cautions") if name in made.details}
    return made.model, {"seconds": round(made.seconds, 1), "steps": made.steps, "stopped": made.stopped, **said}


def main(arguments: list[str] | None = None, *, size: Size | None = None) -> None:
    """Each method at its own job, then all on the common case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--methods", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--only", choices=("own", "common"))
    parser.add_argument("--folder", type=Path, default=Path("runs/bench/own_jobs"))
    parser.add_argument("--result", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    small = options.model == TINY
    case = small_case(options.model, options.folder / options.model.replace("/", "_"), data=options.data, size=size)
    path = options.result or RESULTS / ("own_jobs_tiny.json" if small else "own_jobs.json")
    result: dict[str, Any] = (
        read_json(path, what="Results") if path.is_file() else {"cases": {}, "own": {}, "common": {}}
    )
    result |= {
        "command": f"python benchmarks/own_jobs.py --model {options.model}", "environment": environment(), "model": options.model,
        "rows": len(case.sets["train"]), "forget_rows": len(case.sets["forget"]),
    }  # fmt: skip
    for name in options.methods:
        job, method = JOBS[name], name.split()[0].rstrip(",")
        for kind, case_name, own_options in (("own", job.case, job.options), ("common", COMMON, {})):
            if options.only not in (None, kind) or name in result[kind] or (kind == "common" and " " in name):
                continue
            own, started = CASES[case_name](case), time.monotonic()
            sets = {"forget": own.forget[:MEASURED], "retain": own.retain[:MEASURED], "like": own.like[:MEASURED]}
            row: dict[str, Any] = {"case": case_name, "options": own_options, "paper": job.paper, "scaled": job.scaled}
            try:
                logits = logits_of(case, own, case_name, sets, result)
                model, said = run(case, own, case_name, method, own_options)
                row |= {**said, "figures": forced_figures(model, sets, case.encoding, logits)}
            except UnweaveError as error:
                row["refused"] = str(error)
            result[kind][name] = finite(row)
            write_json(path, result)
            print(f"{kind} {name}: {time.monotonic() - started:.0f} s", flush=True)
    write_json(path, result)


if __name__ == "__main__":
    main(sys.argv[1:])
