"""The engines by name."""

from typing import Any

ENGINES: dict[str, Any] = {
    "local": "unweave.attribution.caching:cache_rows",
    "torchrun": "unweave.engines.torchrun:cache_rows",
    "ray": "unweave.engines.ray:cache_rows",
}
"""Name to what caches with it, `CacheConfig -> CacheResult`, or where it is; a new one is one file and one line here."""
