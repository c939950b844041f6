"""Per-sample gradients: captured by hooks in one batched pass, and never a loop over single examples."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "TokenLosses": "unweave.gradients.loss",
        "token_losses": "unweave.gradients.loss",
        "per_sample_gradients": "unweave.gradients.per_sample",
        "row_losses": "unweave.gradients.scoring",
        "select_parameters": "unweave.models.selection",
    },
)
