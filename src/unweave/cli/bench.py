"""`unweave bench forgetting`."""

from collections.abc import Sequence
from typing import Any

from unweave.bench.config import ForgettingBenchConfig
from unweave.cli.common import execute, print_table
from unweave.errors import ConfigError, nearest

PARTS = ("forgetting",)


def main(argv: Sequence[str]) -> int:
    """Compare methods.

    Args:
        argv: What to compare, then options; a YAML file may stand in the place of `--config FILE`.

    Returns:
        The exit code.

    Raises:
        ConfigError: When there is no such comparison.
    """
    if argv and argv[0] not in PARTS and argv[0] not in ("-h", "--help"):
        raise ConfigError(f"Unknown comparison '{argv[0]}'.", where="unweave bench", remedy=nearest(argv[0], PARTS))
    if not argv:
        print("usage: unweave bench forgetting [CONFIG.yaml] [OPTIONS]")
        return 2
    words = list(argv[1:] if argv[0] in PARTS else argv)
    if words and words[0].endswith((".yaml", ".yml")):
        words = ["--config", *words]
    return execute(
        ForgettingBenchConfig,
        words,
        command="bench forgetting",
        description="Compare forgetting methods on one poisoned model.",
        work="unweave.bench.forgetting:bench_forgetting",
        show=lambda config, results: _show(config, results),
    )


def _show(config: ForgettingBenchConfig, results: dict[str, Any]) -> None:
    from unweave.bench.summary import spread

    header = ["method", "forget rows", "attack success", "OOD", "unwanted loss", "clean loss", "s"]
    shares, losses = ("attack_success", "attack_success_ood"), ("unwanted_loss", "clean_loss")
    rows = [
        [label, "", *(f"{100 * own[name]:.1f} %" for name in shares), *(f"{own[name]:.3f}" for name in losses), ""]
        for label, own in results["plain"].items()
    ]
    rows += [
        [
            row["entry"], str(row["forget_rows"]), spread(row["attack_success"], 100, 1, " %"), spread(row["attack_success_ood"], 100, 1, " %"),
            spread(row["unwanted_loss"], 1, 2), spread(row["clean_loss"], 1, 3), f"{row['seconds']['value']:.0f}",
        ]
        for row in results["table"]
    ]  # fmt: skip
    print_table(f"forgetting methods on {config.case}", header, rows)
    print(f"page: {config.output_dir / 'report.html'}")
