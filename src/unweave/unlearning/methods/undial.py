"""UNDIAL: distillation from the model before with the memorised token's logit lowered (Dong et al., arXiv 2402.10052)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class UNDIAL(Balanced):
    """The forget part is the cross-entropy to softmax(logits before - beta onehot(y)) on the answer's tokens (equations 3 and 4): a fixed target.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.UNDIAL(), epochs=1).method
        'undial'

    Attributes:
        beta: How much the memorised token's logit is lowered (the paper: 10).
        alpha: Factor of the retain part (the paper: there is none).
    """

    name: ClassVar = "undial"
    summary: ClassVar = "distillation from the model before, with the memorised tokens lowered"
    paper: ClassVar = "Dong et al., arXiv 2402.10052"
    cost: ClassVar = "two forward passes and one backward pass a step"
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "beta": (3.0, 10.0)}

    beta: float = 10.0
    alpha: float = 0.0

    @property
    def compares(self) -> bool:
        """With the model before, always."""
        return True

    def forget_part(self, step: "StepView") -> "Tensor":
        """The cross-entropy to the lowered distribution.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        values = []
        for own, other in zip(step.wide_labelled(), step.wide_labelled(before=True), strict=True):
            lowered = other.logits.scatter_add(
                1, other.targets[:, None], other.logits.new_full((len(other.targets), 1), -self.beta)
            )
            values.append(-(lowered.softmax(dim=-1) * own.logits.log_softmax(dim=-1)).sum(dim=-1))
        return step.masked_mean(step.per_sequence(values).means(), Role.UNWANTED)
