"""Weights on the terminal."""

from typing import Any

from unweave import terminal
from unweave.weights.config import WeighConfig


def show(config: WeighConfig, weights: Any) -> None:
    """Print how weights are spread.

    Args:
        config: The run's.
        weights: Its result.
    """
    rows = []
    for name, path, summary in (
        ("forget", config.output_forget, weights.forget_summary),
        ("retain", config.output_retain, weights.retain_summary),
    ):
        cells = [
            f"{summary.effective_sample_size:.1f}",
            f"{summary.at_low:.0%}",
            f"{summary.at_high:.0%}",
            str(summary.levels),
            f"{summary.minimum:.3f} to {summary.maximum:.3f}",
            str(summary.negative),
        ]
        rows.append([name, str(summary.count), *cells, str(path)])
    header = ["rows", "count", "effective", "at lowest", "at highest", "levels", "range", "change sides", "written to"]
    terminal.print_table(f"{weights.method} weights, mean 1", header, rows, text_columns=["written to"])
