"""Values, students, choices and curves on the terminal."""

from typing import Any

from unweave import terminal
from unweave.valuation.config import CurveConfig, FitConfig, PredictConfig, ScoreConfig, SelectConfig


def show_values(_: ScoreConfig, result: Any) -> None:
    """Print how values are spread.

    Args:
        result: What the job gave.
    """
    import numpy as np

    rows = []
    for name, values in result.columns.items():
        own = np.asarray(values)
        shares = np.quantile(own, (0.1, 0.5, 0.9))
        best = result.row_ids[int(own.argmax())]
        rows.append([name, *(f"{share:+.3g}" for share in shares), f"{(own > 0).mean():.0%}", best])
    header = ["column", "10 %", "median", "90 %", "above 0", "best row"]
    terminal.print_table(f"values of {result.rows} rows", header, rows, text_columns=["best row"])
    dropped = f"; {result.dropped} rows left no space for an answer" if result.dropped else ""
    terminal.line(f"{result.output}: {result.seconds:.1f} s{dropped}")


def show_student(_: FitConfig, result: Any) -> None:
    """Print how well a student predicts.

    Args:
        result: What the job gave.
    """
    rows = [
        [name, f"{own['spearman']:.3f}", f"{own['top_overlap']:.0%}", *(f"{share:.0%}" for share in own["coverage"].values()), str(own["rows"])]
        for name, own in result.metrics.items()
    ]  # fmt: skip
    levels = [f"in {float(level):.0%} interval" for level in next(iter(result.metrics.values()))["coverage"]]
    terminal.print_table(
        f"a student of {result.rows} rows", ["task", "Spearman", "top tenth", *levels, "checked on"], rows
    )
    terminal.line(f"{result.folder}: epoch {result.kept_epoch} of {result.epochs}, {result.seconds:.1f} s")


def show_predicted(_: PredictConfig, result: Any) -> None:
    """Print where predictions are.

    Args:
        result: What the job gave.
    """
    terminal.line(
        f"{result.rows} rows, {result.problems} problems: {', '.join(str(result.folder / name) for name in result.files)}"
    )
    terminal.line(f"{result.seconds:.1f} s, {result.rows_per_second:.0f} rows a second")


def show_selected(config: SelectConfig, result: Any) -> None:
    """Print what was chosen.

    Args:
        config: The run's.
        result: What the job gave.
    """
    unit = "rows" if config.budget_rows is not None else "tokens"
    terminal.line(
        f"{result.output}: {result.rows} of {result.of} rows, {result.spent:.0f} {unit}; {result.copies} copies left out"
    )
    terminal.line(f"summed value {result.value:+.4g} (the largest values of as many rows: {result.best_value:+.4g})")
    if result.providers:
        names = ["rows", "value", "share", *(["payment", "price_a_row"] if config.price is not None else [])]
        rows = [[name, *(f"{own[key]:.4g}" for key in names)] for name, own in result.providers.items()]
        terminal.print_table("providers", ["provider", *(name.replace("_", " ") for name in names)], rows)


def show_curves(_: CurveConfig, result: Any) -> None:
    """Print the loss of held-out rows by what was trained on.

    Args:
        result: What the job gave.
    """
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
