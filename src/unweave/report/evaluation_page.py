"""The page of an evaluation on rows: the verdict first, then what it rests on; one file, no script, no remote request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unweave.evaluation.evaluation import Evaluation
from unweave.evaluation.figures import FIGURES, SETS
from unweave.files import write_text
from unweave.report.pages import environment

SHOWN_ANSWERS = 10


def write_evaluation_page(
    path: Path,
    report: Evaluation,
    *,
    models: Mapping[str, str] | None = None,
    seconds: Mapping[str, Mapping[str, float]] | None = None,
    tasks: Mapping[str, Any] | None = None,
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        report: The evaluation.
        models: Label to what the model is called, where models have names.
        seconds: Label to what measuring each part took.
        tasks: From `unweave.evaluation.harness.harness_table`, where the models were asked tasks of the harness.
    """
    write_text(path, render_evaluation_page(report, models=models, seconds=seconds, tasks=tasks))


def render_evaluation_page(
    report: Evaluation,
    *,
    models: Mapping[str, str] | None = None,
    seconds: Mapping[str, Mapping[str, float]] | None = None,
    tasks: Mapping[str, Any] | None = None,
) -> str:
    """The page.

    Args:
        report: The evaluation.
        models: Label to what the model is called, where models have names.
        seconds: Label to what measuring each part took.
        tasks: From `unweave.evaluation.harness.harness_table`, where the models were asked tasks of the harness.

    Returns:
        HTML.
    """
    first = next(iter(report.figures.values()))
    shown = {figure for sets in report.figures.values() for own in sets.values() for figure in own}
    return (
        environment()
        .get_template("evaluation.html")
        .render(
            report=report,
            verdicts={"after": report.verdict, **report.others},
            models=models or {},
            seconds=seconds or {},
            tasks=tasks or {},
            probes={name: own for name, own in report.probes.items() if own.rates or own.unmade},
            sets={name: title for name, title in SETS.items() if name in first},
            figures={name: words for name, words in FIGURES.items() if name in shown},
            shown=SHOWN_ANSWERS,
            attacks=report.attacks,
            detected="detected" in shown,
        )
    )
