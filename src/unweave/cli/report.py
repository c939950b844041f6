"""`unweave report`."""

from collections.abc import Sequence

from unweave import terminal
from unweave.cli.common import execute
from unweave.report.report import ReportConfig


def main(argv: Sequence[str]) -> int:
    """Write the report of a run folder.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    return execute(
        ReportConfig,
        argv,
        command="report",
        description="Write the HTML report of a run folder.",
        work="unweave.report.report:write_report",
        show=lambda _, path: terminal.line(f"report: {path}"),
        as_json=lambda path: {"report": path},
    )
