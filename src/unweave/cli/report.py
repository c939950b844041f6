"""`unweave report`."""

from collections.abc import Sequence

from unweave.cli.common import parse, print_json
from unweave.report.report import ReportConfig


def main(argv: Sequence[str]) -> int:
    """Write the report of a run folder.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    config, common = parse(ReportConfig, argv, command="report", description="Write the HTML report of a run folder.")
    from unweave.report.report import write_report

    path = write_report(config)
    if common.json:
        print_json({"report": str(path)})
    else:
        print(f"report: {path}")
    return 0
