"""The demo on the terminal."""

from typing import Any

from unweave import terminal
from unweave.cli.show.audit import print_metrics
from unweave.experiments.demo.config import DemoConfig


def as_json(_: DemoConfig, result: Any) -> dict[str, Any]:
    """The numbers of a demo.

    Args:
        result: What it gave.

    Returns:
        A JSON object.
    """
    return result.metrics


def show(_: DemoConfig, result: Any) -> None:
    """Print the numbers of a demo, what it cost, and the commands that it stands for.

    Args:
        result: What it gave.
    """
    print_metrics(result.metrics)
    cost = result.metrics["cost"]
    line = f"forgetting took {cost['forgetting_seconds']:.0f} s (influence, weights, training)"
    if "speedup" in cost:
        line += f", retraining {cost['retraining_seconds']:.0f} s: {cost['speedup']:.1f} times cheaper"
    terminal.line(f"{line}; the whole demo {result.metrics['seconds']['total']:.0f} s")
    terminal.line()
    terminal.line("The demo stands for these commands:")
    for command in result.commands:
        terminal.line(f"  {command}")
    terminal.line()
    terminal.line(f"report: {result.report}")
