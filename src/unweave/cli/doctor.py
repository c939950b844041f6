"""`unweave doctor`."""

from collections.abc import Sequence

from unweave import terminal
from unweave.cli.common import parse, print_json
from unweave.trace.config import DoctorConfig


def main(argv: Sequence[str]) -> int:
    """Check a model and its data.

    Args:
        argv: The arguments.

    Returns:
        The exit code; 1 when a check failed.
    """
    config, common = parse(
        DoctorConfig,
        argv,
        command="doctor",
        description="Check a model and its data for the mistakes that ruin influence silently.",
    )
    from unweave.trace.doctor import examine

    findings = examine(config)
    if common.json:
        print_json(findings)
    else:
        rows = [[finding.check, finding.verdict, finding.detail] for finding in findings]
        terminal.print_table(
            f"{config.model} on {config.data}", ["check", "verdict", "found"], rows, text_columns=["verdict", "found"]
        )
    return int(any(finding.verdict == "failed" for finding in findings))
