"""Evaluations on rows alone, on the terminal."""

from typing import Any

from unweave import terminal
from unweave.cli.show.plain import print_sentences


def print_evaluation(metrics: dict[str, Any]) -> None:
    """Print the verdicts, the figures of the models beside each other, and what was left out.

    Args:
        metrics: From an audit of rows.
    """
    for label, verdict in {"after": metrics["verdict"], **metrics["others"]}.items():
        print_verdict(f"{label}: ", verdict)
    terminal.line()
    _print_figures(metrics)
    _print_probes(metrics["probes"])
    _print_attacks(metrics["attacks"])
    _print_tasks(metrics.get("lm_eval", {}), list(metrics["figures"]))
    if metrics["left_out"]:
        terminal.line("left out:")
        print_sentences(metrics["left_out"], label="  - ")


def print_verdict(label: str, verdict: dict[str, Any]) -> None:
    """Print what is concluded of a model, and why.

    Args:
        label: Stands before the conclusion.
        verdict: As JSON.
    """
    distance = verdict["distance"]
    near = f" (KL from the retrained model: {distance['value']:.2f} nats a token)" if distance else ""
    terminal.line(f"{label}{verdict['conclusion']}{near}")
    print_sentences(verdict["reasons"], label="     - ")
    print_sentences(verdict["warnings"], label="     ? ")


def _print_figures(metrics: dict[str, Any]) -> None:
    from unweave.evaluation.figures import FIGURES, SETS

    models = list(metrics["figures"])
    for name, title in SETS.items():
        if name not in metrics["rows"]:
            continue
        own = {label: metrics["figures"][label][name] for label in models}
        shown = [figure for figure in FIGURES if any(figure in one for one in own.values())]
        lines = [[FIGURES[figure], *(_cell(own[label].get(figure)) for label in models)] for figure in shown]
        terminal.print_table(f"{title}: {metrics['rows'][name]}", ["", *models], lines)


def _print_tasks(tasks: dict[str, Any], models: list[str]) -> None:
    if not tasks:
        return
    lines = [
        [task, metric, str(own["count"]), *(_cell(own.get(label)) for label in models), _cell(own.get("change"))]
        for task, metrics in tasks.items()
        for metric, own in metrics.items()
    ]
    terminal.print_table(
        "tasks of the harness",
        ["task", "metric", "documents", *models, "after − before"],
        lines,
        text_columns=["task", "metric"],
    )


def _print_probes(probes: dict[str, Any]) -> None:
    asked = {name: own for name, own in probes.items() if own["rates"]}
    if not asked:
        return
    models = list(next(iter(asked.values()))["rates"])
    lines = [
        [
            name.replace("_", " "),
            str(own["count"]),
            str(sum(own["unmade"].values())),
            *(_cell(own["rates"][label]) for label in models),
        ]
        for name, own in asked.items()
    ]
    terminal.print_table("probes that give a row away", ["", "asked", "not made", *models], lines)


def _print_attacks(attacks: list[dict[str, Any]]) -> None:
    if not attacks:
        return
    models = list(attacks[0]["values"])
    lines = [
        [
            one["attack"],
            one["what"],
            *(_cell(dict(zip(("value", "low", "high"), one["values"][label], strict=True))) for label in models),
        ]
        for one in attacks
    ]
    terminal.print_table("attacks", ["", "what", *models], lines, text_columns=["what"])


def _cell(value: dict[str, Any] | None) -> str:
    if value is None:
        return ""
    low, high = value["low"], value["high"]
    # A single row says nothing of the spread.
    return f"{value['value']:.3f}" if low is None or low != low else f"{value['value']:.3f} [{low:.2f}, {high:.2f}]"
