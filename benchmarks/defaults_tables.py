"""The table of methods at their defaults, from benchmarks/results/defaults.json."""

from collections.abc import Callable
from typing import Any

from result_files import load, machine
from unweave.unlearning.methods import METHODS
from unweave.unlearning.outcome import judged


def _did(own: dict[str, Any], before: dict[str, Any]) -> str:
    """What a run did, by the rule that the package's own cautions go by."""
    verdict = judged(own["details"].get("effect", {}))
    said = []
    if own["verbatim"]:
        said.append(f"{own['verbatim']} answers left")
    if verdict.little:
        said.append("next to nothing")
    if verdict.overshot:
        said.append("worse than guessing")
    if verdict.costly:
        said.append(f"others +{own['retain_loss'] - before['retain_loss']:.2f}")
    return ", ".join(said) or "forgotten, others as before"


def methods() -> str:
    """Every method on the reported case."""
    result = load("defaults")
    before = result["before"]
    lines = [
        "| method | forget rows' loss | other rows' loss | answers left, of "
        f"{result['forget_rows']} | steps | CPU seconds | what it did | cautioned |",
        "|---|---:|---:|---:|---:|---:|---|---|",
        f"| *before* | {before['forget_loss']:.3f} | {before['retain_loss']:.3f} | {before['verbatim']} |  |  |  |  |",
    ]
    for name, own in result["methods"].items():
        if "refused" in own:
            lines.append(f"| `{name}` |  |  |  |  |  | refused: {own['refused'].splitlines()[0]} | yes |")
            continue
        cautioned = "yes" if own["details"].get("cautions") else "no"
        cells = [
            f"{own['forget_loss']:.2f}", f"{own['retain_loss']:.3f}", str(own["verbatim"]), str(own["steps"]), f"{own['cpu_seconds']:.0f}",
            _did(own, before), cautioned,
        ]  # fmt: skip
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    missing = [f"`{name}`" for name in METHODS if name not in result["methods"]]
    lines += [
        "",
        f"Not measured: {', '.join(missing)}." if missing else "",
        "",
        f"(SmolLM2-135M, LoRA, {result['rows']} TOFU rows by heart, {result['forget_rows']} to forget, nothing given but rows; one seed; nats a token; "
        f"answers that begin with the row's first {result['verbatim_words']} words; {machine(result)}.)",
    ]
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"defaults": methods}
