"""`unweave plan`."""

from collections.abc import Sequence

from unweave.cli.common import execute, print_pairs
from unweave.trace.config import CacheConfig


def main(argv: Sequence[str]) -> int:
    """Predict what a caching run takes.

    Args:
        argv: The arguments of `unweave cache`.

    Returns:
        The exit code.
    """
    return execute(
        CacheConfig,
        argv,
        command="plan",
        description="Predict memory, disk and time of `unweave cache` with the same options, by doing three of its batches.",
        work="unweave.trace.plan:plan_cache",
        show=_show,
    )


def _show(config: CacheConfig, plan: object) -> None:
    from unweave.trace.plan import shown

    print_pairs(f"plan: cache {config.data} in {config.store}", shown(plan))  # type: ignore[arg-type]
