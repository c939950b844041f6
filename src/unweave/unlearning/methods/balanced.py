"""Objectives of two parts: one on the forget rows, which a method brings, and one on the retain rows, which all of them share."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from unweave.unlearning.methods.base import Default, Objective
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class Balanced(Objective):
    """loss = gamma * (forget part) + alpha * (retain part), each a weighted mean over its rows.

    Attributes:
        gamma: Factor of the forget part.
        alpha: Factor of the retain part; with 0 no retain row is sampled or needed.
        retain_loss: `nll`: the loss of the retain rows. `kl`: KL(model before || model) on their answers' tokens, for another forward pass a step.
    """

    defaults: ClassVar = {
        "retain_ratio": Default(1.0, "One retain row for each forget row, as in TOFU (arXiv 2401.06121).")
    }

    gamma: float = 1.0
    alpha: float = 1.0
    retain_loss: Literal["nll", "kl"] = "nll"

    @property
    def samples_retain(self) -> bool:
        """Whether the retain part counts."""
        return self.alpha != 0

    @property
    def compares(self) -> bool:
        """Whether a part compares the model with the one before."""
        return self.retain_loss == "kl"

    def loss(self, step: "StepView") -> "Tensor":
        """The weighted sum of the two parts.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        total = self.gamma * self.forget_part(step)
        return total + self.alpha * self.retain_part(step) if self.alpha else total

    @abstractmethod
    def forget_part(self, step: "StepView") -> "Tensor":
        """What is minimised on the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """

    def retain_part(self, step: "StepView") -> "Tensor":
        """What is minimised on the retain rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        if self.retain_loss == "nll":
            return step.masked_mean(step.losses.means(), Role.RETAIN)
        return kept_distribution(step)


def kept_distribution(step: "StepView") -> "Tensor":
    """KL(model before || model) on the retain rows' answers.

    Args:
        step: The step.

    Returns:
        A scalar: a weighted mean over the rows of means over their tokens.
    """
    values = []
    for own, other in zip(step.wide_labelled(), step.wide_labelled(before=True), strict=True):
        before, now = (part.logits.log_softmax(dim=-1) for part in (other, own))
        values.append((before.exp() * (before - now)).sum(dim=-1))
    return step.masked_mean(step.per_sequence(values).means(), Role.RETAIN)
