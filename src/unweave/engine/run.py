"""The engines by name."""

from unweave.lazy import resolve
from unweave.trace.cache import CacheResult
from unweave.trace.config import CacheConfig

ENGINES = {
    "local": "unweave.trace.cache:cache_rows",
    "torchrun": "unweave.engine.torchrun:cache_rows",
    "ray": "unweave.engine.ray:cache_rows",
}
"""Name to what caches with it; a new one is one file and one line here."""


def cache(config: CacheConfig) -> CacheResult:
    """Cache rows with the engine that the config names.

    Args:
        config: The options.

    Returns:
        What was done.
    """
    return resolve(ENGINES[config.engine])(config)
