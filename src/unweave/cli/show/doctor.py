"""The findings of a check on the terminal."""

from collections.abc import Sequence
from typing import Any

from unweave import terminal
from unweave.arguments import shown
from unweave.jobs.config import DoctorConfig


def show(config: DoctorConfig, findings: Sequence[Any]) -> None:
    """Print the findings.

    Args:
        config: What was checked.
        findings: What was found.
    """
    rows = [[finding.check, finding.verdict, shown(finding.detail)] for finding in findings]
    terminal.print_table(
        f"{config.model} on {config.data}", ["check", "verdict", "found"], rows, text_columns=["verdict", "found"]
    )


def code(findings: Sequence[Any]) -> int:
    """The exit code.

    Args:
        findings: What was found.

    Returns:
        1 when a check failed.
    """
    return int(any(finding.verdict == "failed" for finding in findings))
