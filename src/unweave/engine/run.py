"""The engines by name."""

from unweave.engine.registry import ENGINES
from unweave.registry import entry
from unweave.trace.cache import CacheResult
from unweave.trace.config import CacheConfig


def cache(config: CacheConfig) -> CacheResult:
    """Cache rows with the engine that the config names.

    Args:
        config: The options.

    Returns:
        What was done.

    Raises:
        ConfigError: When there is no such engine.
    """
    return entry(ENGINES, config.engine, option="engine")(config)
