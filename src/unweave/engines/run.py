"""The engines by name."""

from unweave.attribution.caching import CacheResult
from unweave.engines.config import CacheConfig
from unweave.engines.registry import ENGINES
from unweave.registry import entry


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
