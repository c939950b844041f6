"""The gradient store on disk: write, resume, scan, check."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "StoreSpec": "unweave.store.format",
        "GradientStore": "unweave.store.store",
        "Block": "unweave.store.shards",
        "check_store": "unweave.store.maintenance",
        "compact_store": "unweave.store.maintenance",
        "merge_stores": "unweave.store.maintenance",
        "repair_store": "unweave.store.maintenance",
    },
)
