"""Audits on the terminal."""

from typing import Any

from unweave import terminal
from unweave.cli.show.evaluation import print_evaluation, print_verdict
from unweave.cli.show.plain import print_sentences


def show(_: Any, metrics: dict[str, Any]) -> None:
    """Print the main numbers of an audit.

    Args:
        metrics: From an audit.
    """
    if "figures" in metrics:
        print_evaluation(metrics)
    else:
        print_metrics(metrics)


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print the main numbers, before beside after.

    Args:
        metrics: From an audit.
    """
    from unweave.evaluation.metrics import shown, shown_change, summary_rows

    with_retrained = "retrained" in metrics["asr"]["seen"]
    header = [
        "",
        "before",
        "after",
        "95 % interval",
        *(["retrained"] if with_retrained else []),
        "paired change [95 %]",
    ]
    rows = []
    for row in summary_rows(metrics):
        entry, share = row["entry"], row["share"]
        low, high = entry["after_interval"]
        cells = [
            row["label"],
            shown(entry["before"], share=share),
            shown(entry["after"], share=share),
            f"{shown(low, share=share)} – {shown(high, share=share)}",
        ]
        if with_retrained:
            cells.append(shown(entry["retrained"], share=share))
        rows.append([*cells, shown_change(entry)])
    terminal.print_table(f"evidence ({metrics['class']})", header, rows)
    _print_verdicts(metrics)
    trace = metrics.get("trace")
    if trace:
        scorers = {
            "unweave trace": trace,
            **{name: trace[name] for name in ("bm25", "gradnorm", "random") if name in trace},
        }
        cells = [
            [name, f"{value['auprc']:.3f}", f"{value['auroc']:.3f}", f"{value['auprc_one_answer']:.3f}"]
            for name, value in scorers.items()
        ]
        title = (
            f"finding the {trace['poisoned_rows']} poisoned of {trace['rows']} rows from {trace['queries']} bad answers"
        )
        terminal.print_table(title, ["scorer", "auPRC", "auROC", "auPRC, one answer"], cells)


def _print_verdicts(metrics: dict[str, Any]) -> None:
    """What the audit concludes of each model, and why; an audit of the demo has none."""
    verdicts = metrics.get("verdicts", {})
    for place, label in enumerate(metrics.get("ranking") or verdicts, start=1):
        print_verdict(f"{place}. {label}: ", verdicts[label])
    if found := metrics.get("attack_findings"):
        terminal.line("attacks that get more out of the unlearned model than out of the retrained one:")
        print_sentences(found, label="     - ")
    if verdicts:
        terminal.line()


def show_influence(_: Any, result: dict[str, Any]) -> None:
    """Print what an audit of influence found.

    Args:
        result: From `unweave.experiments.influence.stage.audit_influence`.
    """
    for part, title in (("sketch", "sketch against exact products"), ("gauss_newton", "plain against curvature")):
        if own := result.get(part):
            rows = [
                [name, _interval(own[name])] for name in own if isinstance(own[name], dict) and "value" in own[name]
            ]
            about = f" ({own['curvature']})" if "curvature" in own else ""
            terminal.print_table(
                f"{title}{about}: {own['rows']} rows, {own['queries']} queries", ["", "mean [95 %]"], rows
            )
            if "damping" in own:
                terminal.line(f"  {damping_shown(own['damping'])}")
    if own := result.get("retraining"):
        rows = [
            [name, _interval(value), damping_shown(value["damping"]) if "damping" in value else ""]
            for name, value in own.items()
            if isinstance(value, dict)
        ]
        title = f"LDS over {own['models']} models, each without {own['left_out']} rows"
        terminal.print_table(title, ["", "mean [95 %]", ""], rows)
    if own := result.get("controls"):
        rows = [
            [
                f"{own['first']} − {kind}",
                name,
                _interval(value),
                f"{value['p_holm']:.2g}",
                f"{value['effect_size']:+.2f}",
            ]
            for kind, measures in own["against"].items()
            for name, value in measures.items()
        ]
        seeds = len({run["seed"] for run in own["runs"]})
        title = f"weights against controls, {len(own['cells'])} cells, paired by seed ({seeds})"
        terminal.print_table(
            title, ["", "measure", "difference [95 %]", "p (Holm)", "effect"], rows, text_columns=["measure"]
        )


def damping_shown(damping: dict[str, Any]) -> str:
    """A curvature's damping, in its own measure and in the one that preconditioners share.

    Args:
        damping: From `unweave.curvature.base.Damping`.

    Returns:
        Text.
    """
    shared = damping["of_mean"]
    other = "" if shared is None else f" = {shared:.3g} of the mean over all coordinates"
    return f"damping {damping['relative']:g} of the {damping['scale']}{other}"


def _interval(value: dict[str, Any]) -> str:
    center = f"{value['value']:.3f}"
    # A single query or seed says nothing of the spread.
    return center if value["low"] != value["low"] else f"{center} [{value['low']:.3f}, {value['high']:.3f}]"
