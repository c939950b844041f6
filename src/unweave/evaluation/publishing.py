"""An evaluation on the hub: a small data set of its numbers, with a card that says what was measured and what was not, and nothing else."""

from pathlib import Path
from typing import TYPE_CHECKING

from unweave.files import finite, write_json, write_text
from unweave.markdown import front_matter, plain
from unweave.models.hub import upload_made
from unweave.stats.estimates import Estimate
from unweave.visible import json_text

if TYPE_CHECKING:
    from unweave.evaluation.evaluation import Evaluation

NUMBERS = "evaluation.json"
TAGS = ["machine-unlearning", "evaluation", "unweave"]
NOTICE = (
    "These are measurements, and no promise: they hold for the rows, the models and the tests that they were made with. An evaluation is empirical and "
    "approximate. That a test finds nothing does not show that there is nothing to be found."
)


def evaluation_card(report: "Evaluation", *, title: str) -> str:
    """The card of an evaluation: its own sentences and figures.

    Args:
        report: The evaluation.
        title: The card's heading.

    Returns:
        Markdown. No text of any row stands in it.
    """
    verdict = report.verdict
    lines = [
        front_matter({"pretty_name": title, "tags": TAGS}),
        f"# {plain(title)}",
        "",
        NOTICE,
        "",
        f"Verdict: **{plain(verdict.conclusion)}**.",
        "",
        *[f"- {plain(reason)}" for reason in verdict.reasons],
        "",
        "## What was not measured",
        "",
        *([f"- {plain(one)}" for one in [*report.left_out, *verdict.warnings]] or ["The evaluation names nothing."]),
        "",
        "## What was measured",
        "",
        "With 95 % intervals; NaN where there was nothing to measure.",
        "",
        "| model | rows | figure | value | interval | count |",
        "|---|---|---|---:|---:|---:|",
        *_figures(report),
        "",
        "The smallest differences that count, set beforehand:",
        "",
        "```json",
        json_text(report.to_json()["margins"], indent=2),
        "```",
        "",
        f"`{NUMBERS}` holds all numbers, with the loss of each row under the row's id. Texts of rows and generated answers are not in it.",
        "",
    ]
    return "\n".join(lines)


def _figures(report: "Evaluation") -> list[str]:
    """Lines of the table."""
    found = [
        (model, name, figure, one, one.count)
        for model, sets in report.figures.items()
        for name, own in sets.items()
        for figure, one in own.items()
    ]
    found += [
        (
            model,
            "forget",
            f"membership inference, {attack} (area under the ROC curve)",
            Estimate(one.area, one.low, one.high, count),
            count,
        )
        for model, own in report.membership.items()
        for attack, one in own.items()
        for count in [one.members + one.others]
    ]
    found += [
        (model, "forget", f"probes that give a row away: {family}", one, one.count)
        for family, own in report.probes.items()
        for model, one in own.rates.items()
    ]
    found += [
        (model, "forget", f"attack, {one.attack}: {one.what}", Estimate(*value, one.count), one.count)
        for one in report.attacks
        for model, value in one.values.items()
    ]
    return [
        f"| {plain(model)} | {plain(rows)} | {plain(figure)} | {one.value:.4g} | {one.low:.4g} to {one.high:.4g} | {count} |"
        for model, rows, figure, one, count in found
    ]


def push_evaluation(
    report: "Evaluation", repo_id: str, *, private: bool | None, token: str | None, commit_message: str
) -> str:
    """Put an evaluation on the hub; see `Evaluation.push_to_hub`.

    Args:
        report: The evaluation.
        repo_id: `owner/name` of a data set.
        private: Whether a repository that is made is private.
        token: Of the hub.
        commit_message: Of the commit.

    Returns:
        The address of the commit.
    """

    def make(folder: Path) -> None:
        write_json(folder / NUMBERS, finite(report.to_json()))
        write_text(folder / "README.md", evaluation_card(report, title=repo_id.rpartition("/")[2]))

    return upload_made(make, repo_id, kind="dataset", private=private, token=token, commit_message=commit_message)
