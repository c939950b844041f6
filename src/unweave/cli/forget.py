"""`unweave forget`."""

from collections.abc import Sequence
from pathlib import Path

from unweave.cli.common import option_value, parse, print_json, print_pairs
from unweave.config import read_value, to_plain


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
    config, common = parse(
        method.config_type,
        argv,
        command="forget",
        description=f"Take the influence of rows out of a model. {method.name}: {method.summary} ({method.paper}).",
    )
    from unweave.forget.stage import forget_rows

    result = forget_rows(config)
    if common.json:
        print_json(result)
    else:
        print_pairs(f"unlearned: {result.folder}", to_plain(result))
    return 0
