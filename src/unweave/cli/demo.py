"""`unweave demo`."""

from collections.abc import Sequence
from typing import Any

from unweave import terminal
from unweave.cli.common import execute
from unweave.cli.summary import print_metrics
from unweave.demo.config import DemoConfig


def main(argv: Sequence[str]) -> int:
    """Run the demo.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    return execute(
        DemoConfig,
        argv,
        command="demo",
        description="Poison a real model, trace a bad answer, forget, audit, report.",
        work="unweave.demo.pipeline:run_demo",
        show=_show,
        as_json=lambda result: result.metrics,
    )


def _show(_: DemoConfig, result: Any) -> None:
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
