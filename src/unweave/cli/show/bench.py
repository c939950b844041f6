"""A comparison of forgetting methods on the terminal."""

from typing import Any

from unweave import terminal
from unweave.experiments.bench.config import ForgettingBenchConfig


def show(config: ForgettingBenchConfig, results: dict[str, Any]) -> None:
    """Print the table of a comparison.

    Args:
        config: The run's.
        results: What it gave.
    """
    from unweave.experiments.bench.summary import cells, measures_of

    header = ["method", "forget", *(one.brief for one in measures_of(results)), "s"]
    rows = [row[:-1] for row in cells(results, intervals=False)[1]]
    terminal.print_table(f"forgetting methods on {results['subject']}", header, rows)
    terminal.line("means over seeds; intervals and paired comparisons are on the page")
    terminal.line(f"page: {config.output_dir / 'report.html'}")
