"""From influence to per-sample weights: RapidUn's mapping, LoReUn's, and the controls."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "MappingConfig": "unweave.weigh.config",
        "WeighConfig": "unweave.weigh.config",
        "Weights": "unweave.weigh.stage",
        "weigh_rows": "unweave.weigh.stage",
        "rapidun_weights": "unweave.weigh.rapidun",
    },
)
