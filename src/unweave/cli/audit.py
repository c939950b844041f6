"""`unweave audit`."""

from collections.abc import Sequence

from unweave.audit.config import AuditConfig
from unweave.cli.common import parse, print_json
from unweave.cli.summary import print_metrics


def main(argv: Sequence[str]) -> int:
    """Audit an unlearned model.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    config, common = parse(
        AuditConfig, argv, command="audit", description="Measure what was forgotten and what was kept."
    )
    from unweave.audit.stage import audit_models

    metrics = audit_models(config)
    if common.json:
        print_json(metrics)
    else:
        print_metrics(metrics)
    return 0
