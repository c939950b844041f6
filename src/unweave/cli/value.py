"""`unweave value score`, `fit`, `predict`, `select`, `curve` and `report`."""

from collections.abc import Callable, Sequence
from typing import Any

from unweave import terminal
from unweave.cli.common import execute
from unweave.errors import ConfigError, nearest
from unweave.value.config import CurveConfig, FitConfig, PredictConfig, ScoreConfig, SelectConfig, ValueReportConfig

USAGE = """usage: unweave value score   --data ROWS --tasks NAME=FILE ... --output VALUES.parquet [OPTIONS]
       unweave value fit     --data ROWS --values VALUES.parquet --output-dir STUDENT [OPTIONS]
       unweave value predict --data MORE_ROWS --student STUDENT --output-dir PREDICTED [OPTIONS]
       unweave value select  --data ROWS --values VALUES.parquet --output CHOSEN.jsonl --budget-rows N [OPTIONS]
       unweave value curve   --data ROWS --values VALUES.parquet --test HELD_OUT.jsonl --output-dir CURVES [OPTIONS]
       unweave value report  --data ROWS --values VALUES.parquet --output PAGE.html [--student STUDENT] [--curves CURVES/curve.json]
`unweave value PART --help` lists the options of a part, --config FILE.yaml and --json among them."""


def main(argv: Sequence[str]) -> int:
    """Value rows.

    Args:
        argv: What to do, then options.

    Returns:
        The exit code.

    Raises:
        ConfigError: When there is no such part.
    """
    if not argv or argv[0] in ("-h", "--help"):
        terminal.lines(USAGE)
        return 0 if argv else 2
    if argv[0] not in PARTS:
        raise ConfigError(f"Unknown part '{argv[0]}'.", where="unweave value", remedy=nearest(argv[0], PARTS))
    config_type, work, description, show = PARTS[argv[0]]
    return execute(
        config_type,
        argv[1:],
        command=f"value {argv[0]}",
        description=description,
        work=f"unweave.{work}",
        show=show,
    )


def _show_values(_: ScoreConfig, result: Any) -> None:
    import numpy as np

    rows = []
    for name, values in result.columns.items():
        own = np.asarray(values)
        shares = np.quantile(own, (0.1, 0.5, 0.9))
        best = result.row_ids[int(own.argmax())]
        rows.append([name, *(f"{share:+.3g}" for share in shares), f"{(own > 0).mean():.0%}", best])
    header = ["column", "10 %", "median", "90 %", "above 0", "best row"]
    terminal.print_table(f"values of {result.rows} rows", header, rows, text_columns=["best row"])
    dropped = f"; {result.dropped} rows had no room for an answer" if result.dropped else ""
    terminal.line(f"{result.output}: {result.seconds:.1f} s{dropped}")


def _show_student(_: FitConfig, result: Any) -> None:
    rows = [
        [name, f"{own['spearman']:.3f}", f"{own['top_overlap']:.0%}", *(f"{share:.0%}" for share in own["coverage"].values()), str(own["rows"])]
        for name, own in result.metrics.items()
    ]  # fmt: skip
    levels = [f"in {float(level):.0%} interval" for level in next(iter(result.metrics.values()))["coverage"]]
    terminal.print_table(
        f"a student of {result.rows} rows", ["task", "Spearman", "top tenth", *levels, "checked on"], rows
    )
    terminal.line(f"{result.folder}: epoch {result.kept_epoch} of {result.epochs}, {result.seconds:.1f} s")


def _show_predicted(_: PredictConfig, result: Any) -> None:
    terminal.line(
        f"{result.rows} rows, {result.problems} problems: {', '.join(str(result.folder / name) for name in result.files)}"
    )
    terminal.line(f"{result.seconds:.1f} s, {result.rows_per_second:.0f} rows a second")


def _show_selected(config: SelectConfig, result: Any) -> None:
    unit = "rows" if config.budget_rows is not None else "tokens"
    terminal.line(
        f"{result.output}: {result.rows} of {result.of} rows, {result.spent:.0f} {unit}; {result.copies} copies left out"
    )
    terminal.line(f"summed value {result.value:+.4g} (the largest values of as many rows: {result.best_value:+.4g})")
    if result.providers:
        names = ["rows", "value", "share", *(["payment", "price_a_row"] if config.price is not None else [])]
        rows = [[name, *(f"{own[key]:.4g}" for key in names)] for name, own in result.providers.items()]
        terminal.print_table("providers", ["provider", *(name.replace("_", " ") for name in names)], rows)


def _show_curves(_: CurveConfig, result: Any) -> None:
    rows = [
        [
            point.column,
            f"{point.share:.0%}",
            str(point.rows),
            f"{point.loss.value:.3f}",
            f"{point.above_first.value:+.3f} [{point.above_first.low:+.3f}, {point.above_first.high:+.3f}]",
        ]
        for point in result.points
    ]
    title = f"loss of {result.test_rows} held-out rows, {result.before:.3f} before training"
    terminal.print_table(title, ["chosen by", "share", "rows", "loss", f"above {result.points[0].column}"], rows)
    terminal.line(f"{result.folder}: {result.seconds:.1f} s")


PARTS: dict[str, tuple[type, str, str, Callable[[Any, Any], None]]] = {
    "score": (ScoreConfig, "value.stage:score_rows", "Value candidate rows for tasks by LinFiK.", _show_values),
    "fit": (FitConfig, "value.fit:fit_student", "Teach a small model to predict values from the text.", _show_student),
    "predict": (
        PredictConfig,
        "value.predict:predict_values",
        "Predict the values of any number of rows.",
        _show_predicted,
    ),
    "select": (SelectConfig, "value.select:select_rows", "Choose rows under a budget.", _show_selected),
    "curve": (
        CurveConfig,
        "value.curve:learning_curves",
        "Train on the best rows of each score, and measure.",
        _show_curves,
    ),
    "report": (
        ValueReportConfig,
        "report.value_page:write_value_page",
        "Write a page on a table of values.",
        lambda _, path: terminal.line(f"written: {path}"),
    ),
}
