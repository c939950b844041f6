"""Unlearning: one trainer, and the methods that give it a loss."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "ForgetConfig": "unweave.forget.config",
        "ForgetResult": "unweave.forget.stage",
        "forget_rows": "unweave.forget.stage",
    },
)
