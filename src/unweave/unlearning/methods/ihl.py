"""IHL, inverted hinge loss: the memorised token is pushed down just until another one wins (Cha et al., arXiv 2408.06621)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import ALL_REQUESTS
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class IHL(Balanced):
    """The forget part is the mean over tokens of 1 + p(y) - max over other tokens v of p(v): bounded, and its gradient touches two tokens mainly.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.IHL(), epochs=1).method
        'ihl'
    """

    name: ClassVar = "ihl"
    summary: ClassVar = "inverted hinge loss on the forget rows"
    paper: ClassVar = "Cha et al., arXiv 2408.06621"
    requests: ClassVar = ALL_REQUESTS
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.5, 1.0)}

    def forget_part(self, step: "StepView") -> "Tensor":
        """The inverted hinge loss of the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        return inverted_hinge(step)


def inverted_hinge(step: "StepView") -> "Tensor":
    """1 + p(y) - max_{v != y} p(v), in [0, 2] at each token y of the forget rows' answers (equation 3), its mean over tokens and rows.

    Args:
        step: The step.

    Returns:
        A scalar.
    """
    values = []
    for part in step.wide_labelled():
        chances = part.logits.softmax(dim=-1)
        own = chances.gather(1, part.targets[:, None]).squeeze(1)
        values.append(1 + own - chances.scatter(1, part.targets[:, None], -1.0).amax(dim=-1))
    return step.masked_mean(step.per_sequence(values).means(), Role.UNWANTED)
