"""`unweave bench forgetting`."""

from collections.abc import Sequence
from typing import Any

from unweave import terminal
from unweave.bench.config import ForgettingBenchConfig
from unweave.cli.common import execute
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
        terminal.line("usage: unweave bench forgetting [CONFIG.yaml] [OPTIONS]")
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
    from unweave.bench.summary import cells, measures_of

    header = ["method", "forget", *(one.brief for one in measures_of(results)), "s"]
    rows = [row[:-1] for row in cells(results, intervals=False)[1]]
    terminal.print_table(f"forgetting methods on {results['subject']}", header, rows)
    terminal.line("means over seeds; intervals and paired comparisons are on the page")
    terminal.line(f"page: {config.output_dir / 'report.html'}")
