"""`unweave audit`."""

from collections.abc import Sequence

from unweave.audit.config import AuditConfig
from unweave.cli.common import execute
from unweave.cli.summary import print_metrics


def main(argv: Sequence[str]) -> int:
    """Audit an unlearned model.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    return execute(
        AuditConfig,
        argv,
        command="audit",
        description="Measure what was forgotten and what was kept.",
        work="unweave.audit.stage:audit_models",
        show=lambda _, metrics: print_metrics(metrics),
    )
