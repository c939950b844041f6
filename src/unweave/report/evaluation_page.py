"""The page of an evaluation on rows: the verdict first, then what it rests on; one file, no script, no remote request."""

from pathlib import Path

from unweave.evaluation.evaluation import Evaluation
from unweave.files import write_text
from unweave.report.pages import environment

SETS = {"forget": "rows to forget", "like": "rows like them, never trained on", "retain": "rows to keep"}
FIGURES = {
    "loss": "loss, nats a token",
    "probability": "probability a token",
    "exact_memorization": "exact memorization",
    "extraction_strength": "extraction strength",
    "begins": "answers that begin as the row's",
    "verbatim": "answers word for word",
    "rouge_l": "ROUGE-L recall of generated answers",
    "kl_from_reference": "KL from the reference, nats a token",
}
SHOWN_ANSWERS = 10


def write_evaluation_page(path: Path, report: Evaluation) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        report: The evaluation.
    """
    first = next(iter(report.figures.values()))
    shown = {figure for sets in report.figures.values() for own in sets.values() for figure in own}
    page = environment().get_template("evaluation.html")
    write_text(
        path,
        page.render(
            report=report,
            verdict=report.verdict,
            label="the model",
            sets={name: title for name, title in SETS.items() if name in first},
            figures={name: words for name, words in FIGURES.items() if name in shown},
            shown=SHOWN_ANSWERS,
        ),
    )
