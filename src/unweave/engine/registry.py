"""The engines by name."""

from typing import Any

ENGINES: dict[str, Any] = {
    "local": "unweave.trace.cache:cache_rows",
    "torchrun": "unweave.engine.torchrun:cache_rows",
    "ray": "unweave.engine.ray:cache_rows",
}
"""Name to what caches with it, `CacheConfig -> CacheResult`, or where it is; a new one is one file and one line here."""
