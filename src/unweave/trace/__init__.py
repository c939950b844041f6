"""RapidIn: cache the sketched gradients of all rows once, then find the rows that an answer comes from."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "CacheConfig": "unweave.trace.config",
        "TraceConfig": "unweave.trace.config",
        "RetrievalConfig": "unweave.trace.config",
        "CacheResult": "unweave.trace.cache",
        "cache_rows": "unweave.trace.cache",
        "TraceResult": "unweave.trace.stage",
        "trace_answers": "unweave.trace.stage",
        "trace_rows": "unweave.trace.stage",
        "trace_queries": "unweave.trace.stage",
        "make_queries": "unweave.trace.queries",
        "exact_influence": "unweave.trace.exact",
    },
)
