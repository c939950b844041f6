"""How far a model's next-token distributions are from another's."""

import torch
from jaxtyping import Float
from torch import Tensor


def kl_divergence(reference: Float[Tensor, "N V"], logits: Float[Tensor, "N V"]) -> Float[Tensor, " N"]:
    """KL(reference || model) of the next-token distributions, in nats.

    Args:
        reference: Logits of the reference model.
        logits: Logits of the model.

    Returns:
        One a position, at least 0 up to rounding.
    """
    own = torch.log_softmax(logits, dim=-1)
    other = torch.log_softmax(reference, dim=-1)
    return (other.exp() * (other - own)).sum(dim=-1)
