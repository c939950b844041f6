"""The one table of an audit, on the terminal."""

from typing import Any

from unweave.cli.common import print_table


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print the main numbers, before beside after.

    Args:
        metrics: From an audit.
    """
    from unweave.audit.metrics import shown, shown_change, summary_rows

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
    print_table(f"evidence ({metrics['class']})", header, rows)
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
        print_table(title, ["scorer", "auPRC", "auROC", "auPRC, one answer"], cells)
