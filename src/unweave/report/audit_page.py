"""The page of an audit: verdicts first, then what they rest on; one file, no script, no remote request."""

from pathlib import Path
from typing import Any

from unweave.files import write_text
from unweave.report.pages import before_after_table, environment


def write_audit_page(path: Path, metrics: dict[str, Any]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        metrics: From `unweave.jobs.audit.audit_models`.
    """
    from markupsafe import Markup

    from unweave.evaluation.attacks.table import attack_table
    from unweave.evaluation.metrics import summary_rows
    from unweave.report import plots

    rows = summary_rows(metrics)
    labels = [name for name in ("before", "after", "retrained") if name in rows[0]["entry"]]
    figures = {"before_after": plots.before_after(rows)}
    if any("relearn" in own for own in metrics["attacks"].values()):
        figures["relearn"] = plots.relearning(metrics["attacks"])
    page = environment().get_template("audit.html")
    write_text(
        path,
        page.render(
            metrics=metrics,
            labels=labels,
            table=before_after_table(rows, labels),
            figures={name: Markup(svg) for name, svg in figures.items()},
            attacks=attack_table(metrics["attacks"]),
        ),
    )
