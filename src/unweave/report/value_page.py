"""The page of a table of values; one file, no script, no remote request."""

from pathlib import Path
from typing import Any

import numpy as np

from unweave.data.rows import Row
from unweave.files import read_json, write_text
from unweave.report import value_plots
from unweave.report.pages import environment as templates
from unweave.run.folder import environment
from unweave.stats.intervals import rank_correlation
from unweave.stats.ranking import TOP
from unweave.valuation.config import ValueReportConfig
from unweave.valuation.student import ValueStudent
from unweave.valuation.table import read_table, task_columns, valued_rows
from unweave.valuation.texts import prompt_and_answer

SHOWN_ROWS = 8
SHOWN_TEXT = 240


def write_value_page(config: ValueReportConfig) -> Path:
    """Write the page of a table.

    Args:
        config: Table, rows, student, curves.

    Returns:
        The HTML file.
    """
    from markupsafe import Markup

    table = read_table(config.values)
    ids = table["id"]
    rows = valued_rows(ids, config.values, config)
    names = task_columns(table)
    student = ValueStudent.from_pretrained(config.student, device=config.device) if config.student else None
    predicted = student.values_of([prompt_and_answer(rows[row_id]) for row_id in ids]) if student else {}
    tasks = []
    for name in names:
        values = np.array(table[name], dtype=float)
        order = np.argsort(-values, kind="stable")
        predictions = predicted.get(name)
        tasks.append(
            {
                "name": name,
                "histogram": Markup(value_plots.histogram(values.tolist(), label=f"value for {name}")),
                "scatter": Markup(value_plots.scatter(values.tolist(), predictions.tolist(), "value", "predicted"))
                if predictions is not None
                else None,
                "spearman": rank_correlation(predictions, values) if predictions is not None else None,
                "held_out": student.spec.metrics[name]["spearman"] if student and predictions is not None else None,
                "positive": float((values > 0).mean()),
                "top_share": _top_share(values[order]),
                "best": [_shown(rows[ids[index]], float(values[index])) for index in order[:SHOWN_ROWS]],
                "worst": [_shown(rows[ids[index]], float(values[index])) for index in order[::-1][:SHOWN_ROWS]],
            }
        )
    others = [name for name in table if name not in ("id", "line", *names)]
    correlations = {
        other: [
            rank_correlation(np.array(table[other], dtype=float), np.array(table[name], dtype=float)) for name in names
        ]
        for other in others
    }
    curves = read_json(config.curves, what="Curves of `unweave value curve`") if config.curves else None
    page = (
        templates()
        .get_template("value.html")
        .render(
            count=len(ids),
            data=config.data,
            table=config.values,
            tasks=tasks,
            correlations=correlations,
            curves=curves,
            curves_plot=Markup(value_plots.learning_curves(curves["points"], curves["before"]))
            # A line needs two points.
            if curves and len({point["share"] for point in curves["points"]}) > 1
            else None,
            environment=environment(),
        )
    )
    write_text(config.output, page)
    return config.output


def _top_share(falling: Any) -> float:
    positive = falling.clip(min=0)
    return float(positive[: max(1, round(TOP * len(falling)))].sum() / positive.sum()) if positive.sum() else 0.0


def _shown(row: Row, value: float) -> dict[str, Any]:
    texts = [
        text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + " ..." for text in (row.user_text, row.completion)
    ]
    return {"id": row.id, "value": float(value), "prompt": texts[0], "answer": texts[1]}
