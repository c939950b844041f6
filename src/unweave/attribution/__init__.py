"""RapidIn: cache the sketched gradients of all rows once, then find the rows that an answer comes from."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "CacheConfig": "unweave.engines.config",
        "TraceConfig": "unweave.jobs.config",
        "RetrievalConfig": "unweave.attribution.config",
        "CacheResult": "unweave.attribution.caching",
        "cache_rows": "unweave.attribution.caching",
        "TraceResult": "unweave.attribution.result",
        "trace_answers": "unweave.jobs.trace",
        "trace_rows": "unweave.attribution.tracing",
        "trace_queries": "unweave.attribution.tracing",
        "make_queries": "unweave.attribution.queries",
        "exact_influence": "unweave.attribution.exact",
    },
)
