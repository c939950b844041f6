"""`unweave weigh`."""

from collections.abc import Sequence
from typing import Any

from unweave import terminal
from unweave.cli.common import execute
from unweave.weigh.config import WeighConfig


def main(argv: Sequence[str]) -> int:
    """Turn influence into weights.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    return execute(
        WeighConfig,
        argv,
        command="weigh",
        description="Turn influence into a weight for each forget and retain row.",
        work="unweave.weigh.stage:weigh_rows",
        show=_show,
    )


def _show(config: WeighConfig, weights: Any) -> None:
    rows = []
    for name, path, summary in (
        ("forget", config.out_forget, weights.forget_summary),
        ("retain", config.out_retain, weights.retain_summary),
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
