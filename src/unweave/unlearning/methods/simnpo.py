"""SimNPO: NPO without the reference model, by the mean loss a token (Fan et al., arXiv 2410.07163).

The gradient of the forget part is that of -gamma l times 2 sigmoid(-beta (l - delta)): with the published beta it fades where the loss is above some tenths
of a nat. Rows that the model doesn't know by heart are left as they are, which is said before a run; delta moves the place.
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import ALL_REQUESTS
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.context import Context
    from unweave.unlearning.view import StepView

LEAST_FACTOR = 0.01
"""Below this factor of gradient ascent's gradient the retain part has the say in every step."""


@dataclass(frozen=True, kw_only=True)
class SimNPO(Balanced):
    """The forget part is -(2/beta) log sigmoid(beta (L/T - delta)), L/T the mean token loss.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.SimNPO(delta=6.0), epochs=1).method
        'simnpo'

    Attributes:
        beta: Inverse temperature (published runs: 4.5).
        delta: Margin: where the loss is already above it, less is done.
        gamma: Factor of the forget part (published runs: 0.125).
    """

    name: ClassVar = "simnpo"
    summary: ClassVar = "NPO by the mean loss a token, without a reference model"
    paper: ClassVar = "Fan et al., arXiv 2410.07163"
    cost: ClassVar = (
        "one forward and one backward pass a step; one more forward pass for each forget row in a run, 32 at most"
    )
    requests: ClassVar = ALL_REQUESTS
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.125, 1.0)}

    beta: float = 4.5
    delta: float = 0.0
    gamma: float = 0.125

    def forget_part(self, step: "StepView") -> "Tensor":
        """The preference loss of the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        from torch.nn.functional import logsigmoid

        gap = step.losses.means() - self.delta
        return step.masked_mean(-2 / self.beta * logsigmoid(self.beta * gap), Role.UNWANTED)

    def cautions(self, context: "Context") -> list[str]:
        """Say where the factor is too small to move anything.

        Args:
            context: The model and rows.

        Returns:
            Sentences.
        """
        from unweave.gradients.scoring import example_losses
        from unweave.unlearning.stopping import checked_rows

        examples, _ = checked_rows(context)
        pad = context.loaded.tokenizer.pad_token_id
        means = example_losses(context.loaded.model, examples, pad_token_id=pad).means()
        factors = [2 * self.gamma / (1 + math.exp(min(700.0, self.beta * (loss - self.delta)))) for loss in means]
        if fmean(factors) >= LEAST_FACTOR:
            return []
        return [
            f"simnpo pushes the forget rows with {fmean(factors):.2g} of gradient ascent's force (2 gamma sigmoid(-beta (l - delta)); their loss l is "
            f"{fmean(means):.2f} nats a token): next to nothing moves. Give `delta` near that loss, or use another method."
        ]
