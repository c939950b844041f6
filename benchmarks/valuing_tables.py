"""The tables of docs/valuing.md."""

from collections.abc import Callable
from statistics import fmean
from typing import Any

from result_files import load, machine

CASES = "generated", "dolly"
PARTS = "relevant", "irrelevant", "noisy", "poisoned"


def interval(value: dict[str, Any], *, digits: int = 3, sign: str = "") -> str:
    """A number with its interval, where there is one."""
    text = f"{value['value']:{sign}.{digits}f}"
    if value["low"] is None:
        return text
    return f"{text} [{value['low']:{sign}.{digits}f}, {value['high']:{sign}.{digits}f}]"


def students(case: str) -> str:
    """How well students order rows that they were not fitted on, and what fitting took."""
    result = load(f"valuing_{case}")
    header = "".join(f" {task}: Spearman | top tenth |" for task in result["tasks"])
    lines = [f"| student |{header} seconds to fit |", "|---|" + "---:|" * (2 * len(result["tasks"]) + 1)]
    for name, own in result["students"].items():
        cells = [interval(own["tasks"][task][key]) for task in result["tasks"] for key in ("spearman", "top_overlap")]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {own['fit_seconds']['value']:.0f} |")
    pool, student = result["pool"], next(iter(result["students"].values()))
    lines += [
        "",
        f"(Fitted on {student['rows']:,} of {pool['all']:,} rows, checked on {result['linfik']['rows'] - student['rows']:,} others; "
        f"{len(result['seeds'])} seeds (one where there is no interval), Student's intervals. LinFiK itself took "
        f"{1000 * result['linfik']['seconds'] / result['linfik']['rows']:.0f} ms a row for both tasks; {machine(result)}.)",
    ]
    return "\n".join(lines)


def selection(case: str) -> str:
    """What fine-tuning on each scorer's top tenth does to the task, and where it puts poisoned rows."""
    result = load(f"valuing_{case}")
    lines = [
        "| chosen by | held-out loss | above ALinFiK's | useful, useless, wrong, poisoned among the chosen | poisoned rows at the bottom, auPRC |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, own in sorted(result["selection"].items(), key=lambda item: item[1]["loss"]["value"]):
        shares = [fmean(run.get(part, 0) / sum(run.values()) for run in own["chosen"]) for part in PARTS]
        above = "" if name == "alinfik" else interval(own["above_alinfik_over_rows"], sign="+")
        mixture = ", ".join(f"{share:.0%}" for share in shares)
        bottom = result["bottom"][name]["poisoned"]["value"]
        lines.append(f"| {name} | {interval(own['loss'])} | {above} | {mixture} | {bottom:.3f} |")
    pool = result["pool"]
    counts = ", ".join(f"{pool[part]:,} {part}" for part in PARTS)
    lines += [
        "",
        f"({counts} rows; {pool['all'] // 10} are chosen. Nats a token on {pool['test']} held-out rows, {result['loss_before']:.3f} before training; "
        f"{len(result['seeds'])} seeds, Student's intervals over them; distances with bootstrap intervals over held-out rows of the seeds' means; by chance "
        f"the auPRC is {result['bottom']['random']['by_chance']['value']:.3f}.)",
    ]
    return "\n".join(lines)


def cost() -> str:
    """Seconds a row over the size of the model."""
    result = load("value_cost")
    student = result["student"]
    lines = ["| | weights, millions | ms a row | times the floor | times the student |", "|---|---:|---:|---:|---:|"]
    for name, own in (*result["models"].items(), ("MiniLM, the student", student)):
        times = f"{own['times_the_student']:.0f}" if "times_the_student" in own else "1"
        lines.append(
            f"| {name} | {own['weights'] / 1e6:,.0f} | {1000 * own['seconds_a_row']:,.1f} | {own['times_the_floor']:.1f} | {times} |"
        )
    lines += ["", f"(Rows of {result['tokens']} tokens, bfloat16, {machine(result)}.)"]
    return "\n".join(lines)


def predict() -> str:
    """Rows a second and memory, and what kills cost."""
    result = load("value_cost")
    lines = ["| rows | rows a second | peak memory, GiB | broken lines | reported |", "|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {one['rows']:,} | {one['rows_per_second']:,.0f} | {one['peak_gib']:.2f} | {one['broken_lines']} | {one['problems_reported']} |"
        for one in result["predict"]
    ]
    kills = result["kills"]
    rounding = ", ".join(f"{value:.4f}" for value in result["spearman_of_bfloat16_with_float32"].values())
    lines += [
        "",
        f"({kills['kills']} kills at random moments, after {', '.join(map(str, kills['parts_done_at_each']))} parts: the resumed run ends with all "
        f"{kills['rows']:,} rows, and its values differ from the undisturbed run's by {kills['largest_difference']:.2g} at most, of a spread of "
        f"{kills['spread_of_values']:.2g}. Order in bfloat16 and float32: Spearman {rounding}. {machine(result)}.)",
    ]
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    **{f"students_{case}": (lambda case=case: students(case)) for case in (*CASES, "large")},
    **{f"selection_{case}": (lambda case=case: selection(case)) for case in CASES},
    "value_cost": cost,
    "predict": predict,
}
