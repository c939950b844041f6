"""What a model computes of a short input that is the same each time: whether a change left it what it was, or left it computing at all."""

from typing import Any

import torch
from torch import Tensor

from unweave.models.vocabulary import vocabulary_size

TOKENS = 16


@torch.no_grad()
def fixed_logits(model: Any) -> Tensor:
    """The logits of a short input that is the same each time.

    Args:
        model: A Hugging Face causal model.

    Returns:
        In float64, on the CPU.
    """
    size = vocabulary_size(model)
    ids = (torch.arange(2 * TOKENS).view(2, TOKENS) * 7919 + 11) % size
    logits = model(input_ids=ids.to(next(model.parameters()).device), use_cache=False).logits
    return logits.double().cpu()
