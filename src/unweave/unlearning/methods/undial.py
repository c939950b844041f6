"""UNDIAL: distillation from the model before with the memorised token's logit lowered (Dong et al., arXiv 2402.10052)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import Method
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class UndialConfig(BalancedConfig):
    """The forget part is the cross-entropy to softmax(logits before - beta onehot(y)) on the answer's tokens (equations 3 and 4): a fixed target.

    Attributes:
        method: The unlearning method.
        beta: How much the memorised token's logit is lowered (the paper: 10).
        alpha: Factor of the retain part (the paper: there is none).
    """

    method: str = "undial"
    beta: float = 10.0
    alpha: float = 0.0


class Undial(Balanced):
    """The objective."""

    config: UndialConfig

    def forget_part(self, view: StepView) -> Tensor:
        """The cross-entropy to the lowered distribution.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        values = []
        for own, other in zip(view.labelled, view.reference_labelled(), strict=True):
            wide = torch.promote_types(own.logits.dtype, torch.float32)
            lowered = other.logits.to(wide).scatter_add(
                1, other.targets[:, None], torch.full_like(other.targets[:, None], -self.config.beta, dtype=wide)
            )
            goal = torch.softmax(lowered, dim=-1)
            values.append(-(goal * torch.log_softmax(own.logits.to(wide), dim=-1)).sum(dim=-1))
        return view.masked_mean(view.per_sequence(values).means(), Role.UNWANTED)


METHOD = Method(
    name="undial",
    summary="distillation from the model before, with the memorised tokens lowered",
    paper="Dong et al., arXiv 2402.10052",
    config_type=UndialConfig,
    build=Undial,
    cost="two forward passes and one backward pass a step",
    compares=lambda _: True,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "beta": (3.0, 10.0)},
)
