"""Plans on the terminal."""

from unweave.cli.show.plain import print_pairs
from unweave.engines.config import CacheConfig


def show(config: CacheConfig, plan: object) -> None:
    """Print what a caching run takes.

    Args:
        config: The run.
        plan: The plan.
    """
    from unweave.jobs.plan import shown

    print_pairs(f"plan: cache {config.data} in {config.store}", shown(plan))  # type: ignore[arg-type]
