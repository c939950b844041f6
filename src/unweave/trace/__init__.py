"""RapidIn: cache the sketched gradients of all rows once, then find the rows that an answer comes from."""

from unweave.trace.cache import CacheResult, cache_rows
from unweave.trace.config import CacheConfig, TraceConfig
from unweave.trace.trace import TraceResult, trace, trace_rows

__all__ = ["CacheConfig", "CacheResult", "TraceConfig", "TraceResult", "cache_rows", "trace", "trace_rows"]
