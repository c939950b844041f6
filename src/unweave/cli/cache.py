"""`unweave cache`."""

from collections.abc import Sequence

from unweave.cli.common import execute, print_pairs
from unweave.trace.config import CacheConfig


def main(argv: Sequence[str]) -> int:
    """Sketch the gradients of rows into a store.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    return execute(
        CacheConfig,
        argv,
        command="cache",
        description="Sketch the gradients of rows into a store; a rerun goes on where it stood.",
        work="unweave.engine.run:cache",
        show=lambda _, result: print_pairs(f"cached: {result.store}", result),
    )
