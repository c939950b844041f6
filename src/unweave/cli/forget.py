"""`unweave forget`."""

from collections.abc import Sequence
from pathlib import Path

from unweave.cli.common import execute, option_value, print_pairs
from unweave.config import read_value


def main(argv: Sequence[str]) -> int:
    """Unlearn rows.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    from unweave.forget.methods import get_method

    path = option_value(argv, "--config")
    name = option_value(argv, "--method") or (read_value(Path(path), "method") if path else None) or "rapidun"
    method = get_method(name)
    about = f"Take the influence of rows out of a model. {method.name}: {method.summary} ({method.paper})."
    return execute(
        method.config_type,
        argv,
        command="forget",
        description=about,
        work="unweave.forget.stage:forget_rows",
        show=lambda _, result: print_pairs(f"unlearned: {result.folder}", result),
    )
