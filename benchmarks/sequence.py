"""Requests one after the other on one adapter: do earlier rows stay forgotten, what is left of the rest, and how far does the model drift?

    python benchmarks/sequence.py                                benchmarks/results/sequence.json (SmolLM2 and TOFU: hours on a quiet machine)
    python benchmarks/sequence.py --model tiny                   benchmarks/results/sequence_tiny.json (minutes)
    python benchmarks/sequence.py --methods npo --set npo.beta=0.5

A model knows rows of several people (TOFU: authors) by heart; eight ask to be forgotten, one after the other. Each request is one run on the adapter that the
one before has left (`adapter_mode` continue), with the rows of those who have not asked as rows to keep. After each the rows forgotten so far, those that
stay and like rows that no model was trained on are measured, beside a model retrained without all that were forgotten so far: that one's logits are what the
drift (KL, nats a token) is from. Every step of every method is written as soon as it is measured; what is there is not made again.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from result_files import RESULTS
from small_cases import TINY, Size, SmallCase, add_options, forced_figures, method_with, small_case
from unweave.errors import UnweaveError
from unweave.evaluation.forced import LogitsFile
from unweave.files import finite, read_json, write_json
from unweave.models.loading import load
from unweave.run.folder import environment
from unweave.unlearning.unlearn import unlearn
from unweave.unlearning.unlearned import Unlearned

REQUESTS = 8
METHODS = "distill", "npo", "graddiff", "rapidun", "undial"
SIZE = Size(people=12, forgotten=8, epochs=12)
MEASURED = 64


def split(case: SmallCase, done: int) -> dict[str, list[Any]]:
    """The rows after some requests."""
    gone = [row for group in case.groups[:done] for row in group]
    return {
        "forgotten": gone[:MEASURED],
        "newest": case.groups[done - 1] if done else [],
        "first": case.groups[0] if done else [],
        "kept": [row for group in case.groups[done:] for row in group],
        "like": case.sets["like"],
    }


def measured(case: SmallCase, model: Any, done: int, logits: LogitsFile | None) -> dict[str, Any]:
    """Losses, beginnings and drift on each kind of rows that there are."""
    sets = {name: rows[:MEASURED] for name, rows in split(case, done).items() if rows}
    return forced_figures(model, sets, case.encoding, logits)


def retrained(case: SmallCase, done: int) -> Path:
    """The model that was never trained on what is forgotten after some requests."""
    return case.train(split(case, done)["kept"], case.folder / f"retrained-{done}")


def request(
    case: SmallCase, method: str, model: Any, done: int, options: dict[str, Any]
) -> tuple[Unlearned, dict[str, Any]]:
    """The next request by one method: the model that it leaves, and what the run says of itself."""
    rows = split(case, done + 1)
    kind, run = method_with(method, options)
    made = unlearn(
        model, rows["newest"], rows["kept"], method=kind, adapter_mode="continue", encoding=case.encoding, seed=done, **run
    )  # fmt: skip
    return made, {"seconds": round(made.seconds, 1), "steps": made.steps, "stopped": made.stopped}


def options_of(pairs: list[str], method: str) -> dict[str, Any]:
    """Those of a method, of `method.option=value`."""
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        owner, _, option = name.partition(".")
        if owner == method:
            read = yaml.safe_load(value)
            found[option] = float(read) if option == "learning_rate" else read
    return found


def main(arguments: list[str] | None = None, *, size: Size = SIZE) -> None:
    """Train, forget one after the other, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--set", nargs="+", default=[], help="METHOD.OPTION=VALUE")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench/sequence"))
    parser.add_argument("--result", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    small = options.model == TINY
    case = small_case(options.model, options.folder / options.model.replace("/", "_"), data=options.data, size=size)
    path = options.result or RESULTS / ("sequence_tiny.json" if small else "sequence.json")
    result: dict[str, Any] = read_json(path, what="Results") if path.is_file() else {"methods": {}, "retrained": {}}
    result |= {
        "command": f"python benchmarks/sequence.py --model {options.model}", "environment": environment(), "model": options.model,
        "rows": len(case.sets["train"]), "requests": options.requests, "rows_a_request": len(case.groups[0]),
    }  # fmt: skip
    before = case.train(case.sets["train"], case.folder / "before")
    if "before" not in result:
        result["before"] = measured(case, load(str(before)), 0, None) | {
            "forgotten": forced_figures(load(str(before)), {"all": split(case, options.requests)["forgotten"]}, case.encoding)["all"]
        }  # fmt: skip
    for method in options.methods:
        given = options_of(options.set, method)
        label = " ".join([method, *(f"{name}={value}" for name, value in given.items())])
        own = result["methods"].setdefault(label, {"steps": []})
        folder = case.folder / "models" / label.replace(" ", "_").replace("=", "_")
        for done in range(len(own["steps"]), options.requests):
            if "refused" in own:
                break
            logits = LogitsFile(case.folder / "logits" / f"{done + 1}.bin", {"requests": done + 1})
            reference = retrained(case, done + 1)
            if not logits.written or str(done + 1) not in result["retrained"]:
                result["retrained"][str(done + 1)] = measured(case, load(str(reference)), done + 1, logits)
            started = time.monotonic()
            try:
                made, said = request(case, method, load(str(folder / str(done) if done else before)), done, given)
            except UnweaveError as error:
                own["refused"] = f"request {done + 1}: {error}"
            else:
                found = measured(case, made.model, done + 1, logits)
                made.save(folder / str(done + 1))
                own["steps"].append(finite({"request": done + 1, **said, "figures": found}))
            write_json(path, result)
            print(f"{label}, request {done + 1}: {time.monotonic() - started:.0f} s", flush=True)
    write_json(path, result)


if __name__ == "__main__":
    main(sys.argv[1:])
