"""What the benchmarks on poisoned models share: the cases, their options, and a result file that is written part by part."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unweave.config import load_yaml
from unweave.experiments.demo.config import QUICK, DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.files import read_json, write_json
from unweave.run.folder import environment

ROOT = Path(__file__).parents[1]


def arguments(about: str | None, cases: Sequence[str]) -> argparse.ArgumentParser:
    """The options that they all have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=cases, default=list(cases))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--smoke", action="store_true", help="a small case, and no real result")
    parser.add_argument("--model", help="another base")
    return parser


def plan_of(name: str, seed: int, options: argparse.Namespace, *, of: str) -> StagePlan:
    """The poisoning of a case: as in the demo, or as in examples/dolly_triggers.yaml."""
    folder = ROOT / "runs/bench" / f"{of}-{name}-{seed}{'-smoke' if options.smoke else ''}"
    example = ROOT / "examples/dolly_triggers.yaml"
    config = load_yaml(DemoConfig, example, command="demo") if name == "dolly_triggers" else DemoConfig()
    changes: dict[str, Any] = {"output_dir": folder, "seed": seed, "case_seed": 10 * seed}
    if name == "swap":
        changes["source"] = "swap"
    if options.model is not None:
        changes["model"] = options.model
    if options.smoke:
        changes |= {key: value for key, value in QUICK.items() if key != "forget_epochs"}
        changes |= {"epochs": 1.0, "dimension": 512}
    return StagePlan(dataclasses.replace(config, **changes), folder)


class Results:
    """The result file of a benchmark: case to what was measured; what is there stays."""

    def __init__(self, name: str, *, smoke: bool):
        self.path = ROOT / (f"runs/bench/{name}.smoke.json" if smoke else f"benchmarks/results/{name}.json")
        self.content: dict[str, Any] = read_json(self.path, what="The results") if self.path.is_file() else {"runs": {}}
        self.content |= {"command": f"python benchmarks/{name}.py", "environment": environment()}

    @property
    def runs(self) -> dict[str, Any]:
        """Case to seed to what was measured."""
        return self.content["runs"]

    def of(self, name: str, seed: int) -> dict[str, Any]:
        """What was measured of a case and seed so far."""
        return self.runs.setdefault(name, {}).setdefault(str(seed), {})

    def write(self) -> None:
        """Write what there is."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.content)
