"""The metrics under test: n models trained with the rows and n without, as many that were made to forget them, and every metric that we ship.

    python benchmarks/meta_evaluation.py                    benchmarks/results/meta_evaluation.json (SmolLM2 and TOFU: hours on a quiet machine)
    python benchmarks/meta_evaluation.py --model tiny       benchmarks/results/meta_evaluation_tiny.json (minutes)

The models of a group differ in seed and in their number of epochs, so that not all of them know the rows by heart; the n-th of each group have both in common.
After OpenUnlearning (arXiv 2506.12618): see unweave.evaluation.meta.table. Each model's readings are written as soon as they are taken, in a file of their
own under --folder, and none is measured twice; the result file is made of what is there. `unweave audit --metric-table` reads it.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch

from result_files import RESULTS
from small_cases import TINY, Size, SmallCase, add_options, small_case
from unweave.evaluation.config import AttackConfig
from unweave.evaluation.meta.measuring import STATES, Meter
from unweave.evaluation.meta.readings import Reading, Readings
from unweave.evaluation.meta.table import judge_metrics
from unweave.files import finite, read_json, write_json
from unweave.models.loading import load
from unweave.models.model import Model
from unweave.run.folder import environment
from unweave.unlearning.unlearn import unlearn

EPOCHS = {TINY: (4, 6, 10), "": (2, 4, 8)}
GROUPS = "trained", "without", "unlearned"


def trained(case: SmallCase, group: str, place: int, epochs: tuple[int, ...]) -> Path:
    """The model of a group."""
    own = {"epochs": epochs[place % len(epochs)], "seed": place}
    rows = case.sets["retain" if group in ("without", "reference") else "train"]
    name = "trained" if group == "unlearned" else group
    return case.train(rows, case.folder / f"{name}-{place}", **own)


def model_of(case: SmallCase, group: str, place: int, epochs: tuple[int, ...], method: str) -> Model:
    """The same in memory; an unlearned one is made anew each time, which takes less than to keep it."""
    model = load(str(trained(case, group, place, epochs)))
    if group != "unlearned":
        return model
    sets = case.sets
    return unlearn(model, sets["forget"], sets["retain"], method=method, encoding=case.encoding, seed=place).model


def read(path: Path) -> dict[str, dict[str, Reading]]:
    """What was measured of a model."""
    states = read_json(path, what="Readings")["states"] if path.is_file() else {}
    return {state: {name: Reading(**one) for name, one in own.items()} for state, own in states.items()}


def write(path: Path, states: dict[str, dict[str, Reading]], about: dict[str, Any]) -> None:
    """The same, to the disk."""
    plain = {state: {name: one.__dict__ for name, one in own.items()} for state, own in states.items()}
    write_json(path, about | {"states": plain})


def main(arguments: list[str] | None = None, *, size: Size | None = None) -> None:
    """Train, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--models", type=int, default=10, help="trained with the rows, and as many without")
    parser.add_argument("--unlearned", type=int, default=5, help="of the trained ones, made to forget")
    parser.add_argument("--method", default="npo", help="that makes models forget")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench/meta"))
    parser.add_argument("--result", type=Path)
    parser.add_argument("--attack-rows", type=int, default=8)
    parser.add_argument("--states", nargs="+", default=list(STATES), choices=STATES)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    small = options.model == TINY
    case = small_case(options.model, options.folder / options.model.replace("/", "_"), data=options.data, size=size)
    epochs = EPOCHS.get(options.model, EPOCHS[""])
    readings = case.folder / "readings"
    meter: Meter | None = None
    # A tiny model learns at rates that would ruin a larger one.
    attacks = AttackConfig(
        attack_rows=options.attack_rows,
        relearn_rows=options.attack_rows,
        samples=4,
        relearn_steps=4,
        relearn_rate=2e-3 if small else 2e-4,
    )
    # A model of each group first, so that what is there after a while says something.
    for place in range(options.models):
        for group in GROUPS if place < options.unlearned else GROUPS[:2]:
            path = readings / f"{group}-{place}.json"
            states = read(path)
            missing = [state for state in options.states if state not in states]
            if not missing:
                continue
            started = time.monotonic()
            if meter is None:
                reference = load(str(trained(case, "reference", options.models, epochs)))
                sets = {name: case.sets[name] for name in ("forget", "like", "retain")}
                sets["retain"] = sets["retain"][: options.attack_rows * 4]
                meter = Meter(
                    sets, reference, case.encoding, case.folder / "logits", attacks, gradnorm_rows=options.attack_rows,
                    probe_rows=options.attack_rows, max_new_tokens=14 if small else 24,
                )  # fmt: skip
            model = model_of(case, group, place, epochs, options.method)
            for state in missing:
                states[state] = meter.readings(model, state)
                write(path, states, {"group": group, "place": place, "method": options.method})
            print(f"{path.name}: {time.monotonic() - started:.0f} s", flush=True)
            conclude(options, case, readings, attacks)
    conclude(options, case, readings, attacks)


def conclude(options: argparse.Namespace, case: SmallCase, readings: Path, attacks: AttackConfig) -> None:
    """The result file, of what there is."""
    groups: dict[str, list[dict[str, Readings]]] = {group: [] for group in GROUPS}
    for group in GROUPS:
        for place in range(options.models):
            states = read(readings / f"{group}-{place}.json")
            if all(state in states for state in options.states):
                groups[group].append(dict(states))
    if not groups["trained"] or not groups["without"]:
        return
    small = options.model == TINY
    name = "a tiny model, rows of invented people" if small else f"{options.model}, rows of TOFU"
    table = judge_metrics(groups["trained"], groups["without"], groups["unlearned"], case=name)
    path = options.result or RESULTS / ("meta_evaluation_tiny.json" if small else "meta_evaluation.json")
    about = {
        "command": f"python benchmarks/meta_evaluation.py --model {options.model} --models {options.models} "
        f"--unlearned {options.unlearned} --method {options.method} --attack-rows {options.attack_rows} --states {' '.join(options.states)}",
        "environment": environment(), "model": options.model, "method": options.method, "rows": len(case.sets["train"]),
        "forget_rows": len(case.sets["forget"]), "epochs": EPOCHS.get(options.model, EPOCHS[""]), "states": options.states,
        "relearning": {"steps": attacks.relearn_steps, "rate": attacks.relearn_rate}, "attack_rows": attacks.attack_rows,
    }  # fmt: skip
    write_json(path, finite({**about, **table.to_json()}))


if __name__ == "__main__":
    main(sys.argv[1:])
