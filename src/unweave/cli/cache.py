"""`unweave cache`."""

from collections.abc import Sequence

from unweave.cli.common import parse, print_json, print_pairs
from unweave.config import to_plain
from unweave.trace.config import CacheConfig


def main(argv: Sequence[str]) -> int:
    """Sketch the gradients of rows into a store.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    config, common = parse(
        CacheConfig, argv, command="cache", description="Sketch the gradients of rows into a store; a rerun goes on."
    )
    from unweave.trace.cache import cache_rows

    result = cache_rows(config)
    if common.json:
        print_json(result)
    else:
        print_pairs(f"cached: {result.store}", to_plain(result))
    return 0
