"""From influence to per-sample weights: RapidUn's mapping, LoReUn's, and the controls."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "MappingConfig": "unweave.weights.config",
        "WeighConfig": "unweave.weights.config",
        "Weights": "unweave.jobs.weigh",
        "weigh_rows": "unweave.jobs.weigh",
        "rapidun_weights": "unweave.weights.mapping",
    },
)
