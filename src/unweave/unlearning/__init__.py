"""Unlearning: one trainer, and the methods that give it a loss."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "ForgetConfig": "unweave.unlearning.config",
        "ForgetResult": "unweave.jobs.forget",
        "forget_rows": "unweave.jobs.forget",
    },
)
