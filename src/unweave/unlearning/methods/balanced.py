"""Objectives of two parts: one on the forget rows, which a method brings, and one on the retain rows, which all of them share."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unweave.unlearning.config import ForgetConfig
from unweave.unlearning.methods.base import Objective, Setting
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class BalancedConfig(ForgetConfig):
    """loss = gamma * (forget part) + alpha * (retain part), each a weighted mean over its rows.

    Attributes:
        gamma: Factor of the forget part.
        alpha: Factor of the retain part; with 0 no retain row is drawn or needed.
        retain_loss: `nll`: the loss of the retain rows. `kl`: KL(model before || model) on their answers' tokens, for another forward pass a step.
        retain_ratio: One retain row for each forget row, as in TOFU (arXiv 2401.06121).
    """

    gamma: float = 1.0
    alpha: float = 1.0
    retain_loss: Literal["nll", "kl"] = "nll"
    retain_ratio: float = 1.0


class Balanced(Objective):
    """The frame; a method adds `forget_part`.

    Args:
        config: Its factors.
        setting: Model and rows.
    """

    def __init__(self, config: BalancedConfig, setting: Setting):
        self.config = config
        self.setting = setting

    def loss(self, view: StepView) -> Tensor:
        """See `Objective.loss`.

        Args:
            view: The step.

        Returns:
            The weighted sum of the two parts.
        """
        total = self.config.gamma * self.forget_part(view)
        return total + self.config.alpha * self.retain_part(view) if self.config.alpha else total

    @abstractmethod
    def forget_part(self, view: StepView) -> Tensor:
        """What is minimised on the forget rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """

    def retain_part(self, view: StepView) -> Tensor:
        """What is minimised on the retain rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        if self.config.retain_loss == "nll":
            return view.masked_mean(view.losses.means(), Role.RETAIN)
        values = []
        for own, other in zip(view.labelled, view.reference_labelled(), strict=True):
            wide = torch.promote_types(own.logits.dtype, torch.float32)
            before, now = (torch.log_softmax(part.logits.to(wide), dim=-1) for part in (other, own))
            values.append((before.exp() * (before - now)).sum(dim=-1))
        return view.masked_mean(view.per_sequence(values).means(), Role.RETAIN)
