"""Per-sample gradients: captured by hooks in one batched pass, and never a loop over single examples."""

from unweave.gradients.loss import TokenLosses, token_losses
from unweave.gradients.per_sample import per_sample_gradients

__all__ = ["TokenLosses", "per_sample_gradients", "token_losses"]
