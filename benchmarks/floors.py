"""The least that caching could cost: what benchmarks compare it with."""

from collections.abc import Sequence
from typing import Any

import torch

from unweave.data.batches import collate, plan_batches
from unweave.data.encoding import Example
from unweave.gradients.loss import token_losses
from unweave.gradients.passes import frozen_in_evaluation
from unweave.models.selection import select_parameters


def bare_passes(model: Any, examples: Sequence[Example], which: str, *, token_budget: int, pad_token_id: int) -> None:
    """Forward and activations-only backward: the graph begins at the first chosen modules' outputs, no weight gradient is made."""

    def begin(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output if output.requires_grad else output.detach().requires_grad_()

    modules = {use.module for item in select_parameters(model, which) for use in item.uses}
    handles = [module.register_forward_hook(begin) for module in modules]
    device = next(model.parameters()).device
    with frozen_in_evaluation(model):
        for chosen in plan_batches([len(example) for example in examples], token_budget=token_budget):
            batch = collate([examples[index] for index in chosen], pad_token_id=pad_token_id).to(device)
            token_losses(model, batch).means().sum().backward()
    for handle in handles:
        handle.remove()
