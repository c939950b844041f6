"""The tables of the metrics under test, of requests in sequence, and of methods at their own jobs; each says which model its numbers are of."""

import math
from collections.abc import Callable
from typing import Any

from result_files import RESULTS, load, machine

TINY = "tiny"


def _found(name: str) -> list[dict[str, Any]]:
    """The result files that are there: of SmolLM2 first, then of the tiny model."""
    return [load(own) for own in (name, f"{name}_tiny") if (RESULTS / f"{own}.json").is_file()]


def _of(result: dict[str, Any]) -> str:
    """Whose numbers these are."""
    if result["model"] == TINY:
        return "**A tiny model of two layers on rows of invented people, no figure of a real one**"
    return f"{result['model']}, LoRA, TOFU's rows"


def _number(value: Any, digits: int = 2) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{value:.{digits}f}"


def _area(area: dict[str, Any] | None) -> str:
    return f"{area['value']:.2f} [{area['low']:.2f}, {area['high']:.2f}]" if area else ""


def metrics() -> str:
    """Each metric under test."""
    parts = []
    for result in _found("meta_evaluation"):
        forms = [state for state in result["states"] if state not in ("plain", "relearned", "quantised")]
        lines = [
            "| metric | trained on the rows | without | AUC [95 %] | relearned | 4 bits | "
            + " | ".join(f"asked {form}" for form in forms)
            + " | moves with the form | R | Q | overall |",
            "|---|---:|---:|---:|---:|---:|" + "---:|" * len(forms) + "---:|---:|---:|---:|",
        ]
        for name, own in result["metrics"].items():
            areas = own["areas"]
            cells = [
                _number(own["means"].get("trained"), 3), _number(own["means"].get("without"), 3), _area(areas["plain"]),
                *(_area(areas.get(state)) for state in ("relearned", "quantised", *forms)), _number(own["sensitivity"]),
                _number(own["relearning"]), _number(own["quantisation"]), _number(own["overall"]),
            ]  # fmt: skip
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        counts = result["models"]
        lines += _relearned(result["metrics"])
        lines += [
            "",
            f"({_of(result)}: {counts['trained']} models trained with the {result['forget_rows']} rows of {result['rows']}, {counts['without']} without, "
            f"for {', '.join(map(str, result['epochs']))} epochs in turn; {counts['unlearned']} made to forget by `{result['method']}`, of which R and Q are; "
            f"Newcombe's intervals over models; relearning: {result['relearning']['steps']} steps; `{result['command']}`; {machine(result)}.)",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _relearned(found: dict[str, Any]) -> list[str]:
    """What a few steps on rows to keep bring back."""
    names = [
        name
        for name in found
        if name.startswith("attack relearn: loss of unwanted answers") and name.endswith("unrelated rows")
    ]
    # At the last layer the lens reads the loss itself, of the same rows.
    read = [name for name in found if name.startswith("attack lens") and len(set(name.split()[-3::2])) == 1]
    if not names or not read or "unlearned" not in found[names[0]]["means"]:
        return []
    before, after = (found[name]["means"] for name in (read[0], names[0]))
    sides = [
        f"{title} {_number(before[group])} to {_number(after[group])}"
        for group, title in (("unlearned", "unlearned models from"), ("without", "models that never saw them from"))
    ]
    steps = names[0].partition("after ")[2]
    return [
        "",
        f"Loss of the rows to forget after {steps.replace('unrelated rows', 'rows to keep')}: {'; '.join(sides)} nats a token.",
    ]


def sequence() -> str:
    """After the first, the middle and the last request, by each method."""
    parts = []
    for result in _found("sequence"):
        lines = [
            "| method | after request | rows forgotten so far | begin | the first rows | rows that stay | like rows | KL, forgotten | KL, that stay |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        last = max((len(own["steps"]) for own in result["methods"].values()), default=0)
        shown = sorted({1, max(1, last // 2), last} - {0})
        before = result["before"]
        lines.append(
            f"| *before* | 0 | {_number(before['forgotten']['loss'])} | {before['forgotten']['begins']} of {before['forgotten']['rows']} |  | "
            f"{_number(before['kept']['loss'])} | {_number(before['like']['loss'])} |  |  |"
        )
        rows = [("*retrained*", {int(step): own for step, own in result["retrained"].items()})]
        rows += [
            (f"`{name}`", {one["request"]: one["figures"] for one in own["steps"]})
            for name, own in result["methods"].items()
        ]
        for name, steps in rows:
            for step in shown:
                if step not in steps:
                    continue
                own = steps[step]
                kept = own.get("kept", {})
                lines.append(
                    f"| {name} | {step} | {_number(own['forgotten']['loss'])} | {own['forgotten']['begins']} of {own['forgotten']['rows']} | "
                    f"{_number(own['first']['loss'])} | {_number(kept.get('loss'))} | {_number(own['like']['loss'])} | "
                    f"{_number(own['forgotten'].get('kl'))} | {_number(kept.get('kl'))} |"
                )
        refused = [
            f"`{name}`: {own['refused'].splitlines()[0]}" for name, own in result["methods"].items() if "refused" in own
        ]
        lines += ["", f"Refused: {'; '.join(refused)}" if refused else "", ""]
        lines.append(
            f"({_of(result)}: {result['rows']} rows by heart, {result['rows_a_request']} a request, {result['requests']} of them; one seed; in nats; begin: "
            f"answers that begin as the row's; KL from the model retrained without all rows forgotten so far; {machine(result)}.)"
        )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def own_jobs() -> str:
    """Each method at its own job, beside the common case."""
    parts = []
    for result in _found("own_jobs"):
        lines = [
            "| method | own job | forget: before, after, retrained | begin | keep: before, after, retrained | KL, forget | KL, keep "
            "| common case: forget, keep | KL, forget |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for name, own in result["own"].items():
            other = result["common"].get(name, {})
            common = ["", ""]
            if "figures" in other:
                figures = other["figures"]
                common = [
                    f"{_number(figures['forget']['loss'])}, {_number(figures['retain']['loss'])}",
                    _number(figures["forget"].get("kl")),
                ]
            if "refused" in own:
                lines.append(
                    f"| `{name}` | {own['case']} | refused: {own['refused'].splitlines()[0]} |  |  |  |  | {common[0]} | {common[1]} |"
                )
                continue
            case, figures = result["cases"][own["case"]], own["figures"]

            def three(kind: str, case: dict[str, Any] = case, figures: dict[str, Any] = figures) -> str:
                return ", ".join(_number(one[kind]["loss"]) for one in (case["before"], figures, case["retrained"]))

            cells = [
                own["case"], three("forget"), f"{figures['forget']['begins']} of {figures['forget']['rows']}", three("retain"),
                _number(figures["forget"].get("kl")), _number(figures["retain"].get("kl")), *common,
            ]  # fmt: skip
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
        jobs = [f"`{name}`: {case['what']}" for name, case in result["cases"].items()]
        lines += [
            "",
            f"Own jobs: {'; '.join(jobs)}.",
            "",
            f"({_of(result)}; the common case is `people` at our defaults; one seed; losses and KL from the retrained model: nats a token; {machine(result)}.)",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def job_options() -> str:
    """The options of each method at its own job, with their source."""
    lines = ["| method | own job | options | the paper | scaled |", "|---|---|---|---|---|"]
    for result in _found("own_jobs"):
        for name, own in result["own"].items():
            given = ", ".join(f"`{key}={value}`" for key, value in own["options"].items()) or "defaults"
            lines.append(f"| `{name}` | {own['case']} | {given} | {own['paper']} | {own['scaled']} |")
        break
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "meta_evaluation": metrics,
    "sequence": sequence,
    "own_jobs": own_jobs,
    "job_options": job_options,
}
