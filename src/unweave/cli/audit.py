"""`unweave audit`, and its parts `tofu-log`, `tofu` and `influence`."""

from collections.abc import Sequence

from unweave.audit.config import AuditConfig
from unweave.cli.common import execute, print_pairs
from unweave.cli.summary import print_metrics

PARTS = "tofu-log", "tofu", "influence"


def main(argv: Sequence[str]) -> int:
    """Audit an unlearned model; or, where the first argument names a part, run that.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    if argv and argv[0] in PARTS:
        return _PARTS[argv[0]](argv[1:])
    return execute(
        AuditConfig,
        argv,
        command="audit",
        description="Measure what was forgotten and what was kept. Other audits: `unweave audit tofu-log LOG --reference LOG` scores TOFU's "
        "evaluation logs, `unweave audit tofu` makes them, `unweave audit influence` checks influence scores against retraining.",
        work="unweave.audit.stage:audit_models",
        show=lambda _, metrics: print_metrics(metrics),
    )


def _tofu_log(argv: Sequence[str]) -> int:
    from unweave.audit.tofu.config import TofuLogConfig

    return execute(
        TofuLogConfig,
        argv,
        command="audit tofu-log",
        description="Score one of TOFU's aggregated evaluation logs against that of a retained model.",
        work="unweave.audit.tofu.command:score",
        show=lambda config, scores: print_pairs(f"TOFU scores of {config.log}", scores),
    )


def _tofu(argv: Sequence[str]) -> int:
    from unweave.audit.tofu.config import TofuConfig

    return execute(
        TofuConfig,
        argv,
        command="audit tofu",
        description="Evaluate a model on TOFU's files.",
        work="unweave.audit.tofu.evaluate:evaluate_tofu",
        show=lambda config, scores: print_pairs(f"TOFU scores of {config.model}", scores),
    )


def _influence(argv: Sequence[str]) -> int:
    from unweave.audit.influence.config import InfluenceAuditConfig
    from unweave.cli.summary import print_influence

    return execute(
        InfluenceAuditConfig,
        argv,
        command="audit influence",
        description="Do influence scores mean anything here? Sketches against exact products, against Gauss-Newton influence, against retraining.",
        work="unweave.audit.influence.stage:audit_influence",
        show=lambda _, result: print_influence(result),
    )


_PARTS = {"tofu-log": _tofu_log, "tofu": _tofu, "influence": _influence}
