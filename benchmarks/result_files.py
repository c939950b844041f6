"""Result files, and how their numbers are shown."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def load(name: str) -> dict[str, Any]:
    """A result file."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def shown(value: dict[str, Any], *, percent: bool = False, signed: bool = False, digits: int = 1) -> str:
    """Mean and standard deviation over seeds."""
    factor = 100 if percent else 1
    sign = "+" if signed else ""
    text = f"{value['mean'] * factor:{sign}.{digits}f}"
    if value["sd"] is not None:
        text += f" ± {value['sd'] * factor:.{digits}f}"
    return text + (" %" if percent else "")


def machine(result: dict[str, Any]) -> str:
    """The machine of a result."""
    environment = result["environment"]
    return f"{environment['threads']} threads of an {environment['cpu']}"


def ranged(value: dict[str, float]) -> str:
    """Median with its range."""
    return f"{value['median']:.2f} ({value['min']:.2f} to {value['max']:.2f})"
