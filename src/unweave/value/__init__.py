"""What rows are worth for a task, before anyone trains on them."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "ScoreConfig": "unweave.value.config",
        "score_rows": "unweave.value.stage",
    },
)
