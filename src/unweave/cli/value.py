"""`unweave value score`."""

from collections.abc import Sequence
from typing import Any

from unweave.cli.common import execute, print_table
from unweave.errors import ConfigError, nearest
from unweave.value.config import ScoreConfig

PARTS = ("score",)


def main(argv: Sequence[str]) -> int:
    """Value rows.

    Args:
        argv: What to do, then options.

    Returns:
        The exit code.

    Raises:
        ConfigError: When there is no such part.
    """
    if argv and argv[0] not in PARTS and argv[0] not in ("-h", "--help"):
        raise ConfigError(f"Unknown part '{argv[0]}'.", where="unweave value", remedy=nearest(argv[0], PARTS))
    if not argv:
        print("usage: unweave value score --data ROWS --tasks NAME=FILE ... --output VALUES.parquet [OPTIONS]")
        return 2
    return execute(
        ScoreConfig,
        argv[1:] if argv[0] in PARTS else argv,
        command="value score",
        description="Value candidate rows for tasks by LinFiK.",
        work="unweave.value.stage:score_rows",
        show=_show,
    )


def _show(_: ScoreConfig, result: Any) -> None:
    import numpy as np

    rows = []
    for name, values in result.columns.items():
        own = np.asarray(values)
        shares = np.quantile(own, (0.1, 0.5, 0.9))
        best = result.row_ids[int(own.argmax())]
        rows.append([name, *(f"{share:+.3g}" for share in shares), f"{(own > 0).mean():.0%}", best])
    print_table(
        f"values of {result.rows} rows",
        ["column", "10 %", "median", "90 %", "above 0", "best row"],
        rows,
        text_columns=["best row"],
    )
    dropped = f"; {result.dropped} rows had no room for an answer" if result.dropped else ""
    print(f"{result.output}: {result.seconds:.1f} s{dropped}")
