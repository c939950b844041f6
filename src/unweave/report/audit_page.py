"""The page of an audit: verdicts first, then what they rest on; one file, no script, no remote request."""

from pathlib import Path
from typing import Any

from unweave.files import write_text
from unweave.report.pages import environment


def write_audit_page(path: Path, metrics: dict[str, Any]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        metrics: From `unweave.audit.stage.audit_models`.
    """
    from markupsafe import Markup

    from unweave.audit.metrics import shown, shown_change, summary_rows
    from unweave.report import plots

    rows = summary_rows(metrics)
    labels = [name for name in ("before", "after", "retrained") if name in rows[0]["entry"]]
    table = [
        {
            "label": row["label"],
            "cells": [
                (
                    shown(row["entry"][name], share=row["share"]),
                    [shown(end, share=row["share"]) for end in row["entry"][f"{name}_interval"]],
                )
                for name in labels
            ],
            "change": shown_change(row["entry"]),
            "count": row["entry"]["count"],
        }
        for row in rows
    ]
    figures = {"before_after": plots.before_after(rows)}
    if any("relearn" in own for own in metrics["attacks"].values()):
        figures["relearn"] = plots.relearning(metrics["attacks"])
    page = environment().get_template("audit.html")
    write_text(
        path,
        page.render(
            metrics=metrics,
            labels=labels,
            table=table,
            figures={name: Markup(svg) for name, svg in figures.items()},
            attacks=attack_rows(metrics["attacks"]),
        ),
    )


def attack_rows(attacks: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The attacks as rows of a table, a column a model.

    Args:
        attacks: Model to its attacks.

    Returns:
        For each: attack, what is told, and for each model the value with its interval.
    """
    rows: list[dict[str, Any]] = []
    first = next(iter(attacks.values()), {})
    for name in first:
        for what, path, scale in _told(name, first[name]):
            cells = []
            for own in attacks.values():
                value: Any = own[name]
                for key in path:
                    value = value[key]
                center = value.get("value", value.get("auc"))
                low, high = value["interval"] if "interval" in value else (value["low"], value["high"])
                cells.append((scale * center, scale * low, scale * high))
            rows.append({"attack": name, "what": what, "cells": cells, "percent": scale == 100})
    return rows


def _told(name: str, attack: dict[str, Any]) -> list[tuple[str, tuple[Any, ...], int]]:
    """What is told of an attack: text, where it stands, and what it is multiplied with."""
    if name == "sampling":
        return [
            (f"unwanted in one of {attack['samples']} samples", ("any",), 100),
            ("share of samples that are unwanted", ("each",), 100),
        ]
    if name == "prompts":
        return [(f"attack success, {form}", (form,), 100) for form in attack if form != "seconds"]
    if name == "lens":
        told = [
            (f"loss of unwanted answers at layer {depth} of {attack['layers']}", ("logit_lens", depth), 1)
            for depth in attack["logit_lens"]
        ]
        return told + [(f"trigger probe at layer {depth}, AUC", ("probe", depth), 1) for depth in attack["probe"]]
    if name == "relearn":
        last = len(attack["forget"]["curve"]) - 1
        told = []
        for source in ("forget", "unrelated"):
            steps = attack[source]["curve"][last]["step"]
            after = f"after {steps} steps on {attack[source]['rows']} {source} rows"
            told.append((f"attack success {after}", (source, "attack_success"), 100))
            told.append((f"loss of unwanted answers {after}", (source, "curve", last, "loss_unwanted"), 1))
        return told
    return [(f"attack success, {bits}", (bits, "attack_success"), 100) for bits in attack if bits != "seconds"] + [
        (f"loss of clean answers, {bits}", (bits, "loss_clean"), 1) for bits in attack if bits != "seconds"
    ]
