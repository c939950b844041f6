"""The evaluation suite of attribution on the terminal."""

from typing import Any

from unweave import terminal
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.summary import Table


def show(config: AttributionBenchConfig, table: Table) -> None:
    """Print each measure's main figure, and what follows.

    Args:
        config: The run's.
        table: What it gave.
    """
    from unweave.experiments.attribution.page import cells

    header, rows = cells(table, intervals=False)
    first = {one.measure: place for place, one in reversed(list(enumerate(table.columns, start=1)))}
    shown = [0, *sorted(first.values()), len(table.columns) + 1]
    titles = {place: measure for measure, place in first.items()}
    terminal.print_table(
        "attribution",
        [titles.get(place, header[place]) for place in shown],
        [[row[place] for place in shown] for row in rows],
    )
    for text in table.findings:
        terminal.line(text)
    for name, reason in table.skipped.items():
        terminal.line(f"{name} was skipped: {reason}")
    terminal.line(f"page, with intervals: {config.output_dir / 'report.html'}")


def as_json(config: AttributionBenchConfig, table: Table) -> dict[str, Any]:
    """The table as a JSON object.

    Args:
        config: Unused.
        table: What the run gave.

    Returns:
        As in `results.json`.
    """
    del config
    return table.to_json()
