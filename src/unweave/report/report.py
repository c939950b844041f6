"""The HTML report of a run folder: one file, no script, no remote request."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.data.case import open_case
from unweave.errors import DataError
from unweave.files import read_json, write_text
from unweave.report.pages import before_after_table, environment

SAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write the report of a run.

    Attributes:
        run: The run folder, with `metrics.json`.
        output: Where the report goes; by default `report.html` in the run folder.
    """

    run: Path
    output: Path | None = None


def write_report(config: ReportConfig) -> Path:
    """Write the report; everything in it comes from the files of the run folder.

    Args:
        config: The folder.

    Returns:
        The HTML file.

    Raises:
        DataError: When the folder holds no finished run.
    """
    folder = config.run
    if not (folder / "metrics.json").is_file():
        raise DataError(
            "There is no finished run here.",
            where=str(folder),
            remedy="run `unweave demo` with this `output_dir` first",
        )
    page = environment().get_template("report.html").render(**_content(folder))
    output = config.output or folder / "report.html"
    write_text(output, page)
    return output


def _content(folder: Path) -> dict[str, Any]:
    from markupsafe import Markup

    from unweave.evaluation.metrics import summary_rows
    from unweave.report import plots
    from unweave.weights.files import read_weights

    metrics = read_json(folder / "metrics.json", what="The metrics")
    trace = read_json(folder / "trace.json", what="The trace")
    run = read_json(folder / "run.json", what="The run's record")
    stages = read_json(folder / "stages.json", what="The stages")
    case = open_case(folder / "case")
    labels = [name for name in ("before", "after", "retrained") if (folder / f"behaviour.{name}.json").is_file()]
    behaviours = {
        name: read_json(folder / f"behaviour.{name}.json", what="A measured behaviour")["behaviour"] for name in labels
    }
    rows = summary_rows(metrics)
    table = before_after_table(rows, labels)
    weights = [
        read_weights(folder / f"{name}_weights.jsonl", count=metrics["weights"][name]["count"], signed=name == "retain")
        for name in ("forget", "retain")
    ]
    figures = {
        "before_after": plots.before_after(rows),
        "precision_recall": plots.precision_recall(trace["curves"]),
        "weights": plots.weight_histogram(*weights),
        "times": plots.stage_times(metrics["seconds"]),
    }
    if "accuracy_by_task" in metrics["clean"]:
        figures["tasks"] = plots.accuracy_by_task(metrics["clean"]["accuracy_by_task"])
    return {
        "metrics": metrics,
        "labels": labels,
        "table": table,
        "trace": trace,
        "scorers": [
            (name, metrics["trace"] if name == "trace" else metrics["trace"][name]) for name in trace["curves"]
        ],
        "samples": _samples(case, behaviours),
        "figures": {name: Markup(svg) for name, svg in figures.items()},
        "run": run,
        "config": (folder / "config.yaml").read_text(encoding="utf-8"),
        "commands": [command for record in stages.values() for command in record["commands"]],
    }


def _samples(case: Any, behaviours: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The first prompts of each test, with every model's answer."""
    samples = []
    for test in ("seen", "ood", "clean"):
        if test not in behaviours["before"]["answers"]:
            continue
        for index, row in enumerate(case.rows(f"test_{test}")[:SAMPLES]):
            answers = [
                {"text": behaviour["answers"][test][index], "unwanted": bool(behaviour["unwanted"][test][index])}
                for behaviour in behaviours.values()
            ]
            samples.append({"test": test, "prompt": row.user_text, "right": row.completion, "answers": answers})
    return samples
