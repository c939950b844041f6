"""LoReUn: forget rows weighed by their loss, small losses being hard to forget (arXiv 2507.22499), on gradient difference."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import ALL_REQUESTS
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.context import Context
    from unweave.unlearning.view import StepView

ALIKE = 1.1
"""Weights whose largest is less than this many times their smallest."""


@dataclass(frozen=True, kw_only=True)
class LoReUn(Balanced):
    """The forget part is -mean w l(z), w proportional to exp(-l(z)/tau), brought to mean 1, clipped, and brought to mean 1 again.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.LoReUn(schedule="dynamic"), epochs=1).method
        'loreun'

    Attributes:
        schedule: `static`: by the losses before forgetting. `dynamic`: by those of the step.
        loreun_tau: Temperature, in nats a token.
        loreun_wmin: Lower clip.
        loreun_wmax: Upper clip.
        loreun_direction: `easy-low` gives small losses large weights (the paper); `easy-high` the opposite (RapidUn's code).
    """

    name: ClassVar = "loreun"
    summary: ClassVar = "gradient difference with forget rows weighed by their loss"
    paper: ClassVar = "arXiv 2507.22499"
    cost: ClassVar = "one forward and one backward pass a step; one more forward pass for each forget row in a run"
    requests: ClassVar = ALL_REQUESTS
    weighs: ClassVar = True
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.3, 1.0)}

    schedule: Literal["static", "dynamic"] = "static"
    loreun_tau: float = 0.8
    loreun_wmin: float = 0.5
    loreun_wmax: float = 3.0
    loreun_direction: Literal["easy-low", "easy-high"] = "easy-low"

    @property
    def whole_steps(self) -> bool:
        """Whether weights are of mean 1 in each step."""
        return self.schedule == "dynamic"

    def forget_part(self, step: "StepView") -> "Tensor":
        """The weighted negative loss of the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        from unweave.weights.controls import loreun_weights

        means = step.losses.means()
        unwanted = (step.step.roles == Role.UNWANTED).nonzero().flatten().tolist()
        weights = means.new_zeros(means.shape)
        if unwanted and self.schedule == "static":
            of_rows = self._of_rows(step)
            weights[unwanted] = means.new_tensor([of_rows[step.step.row_ids[index]] for index in unwanted])
        elif unwanted:
            weights[unwanted] = means.new_tensor(loreun_weights(means.detach()[unwanted].tolist(), self))
        return -step.masked_mean(weights * means, Role.UNWANTED)

    def cautions(self, context: "Context") -> list[str]:
        """Say where the weights are all alike, as of rows that are all known by heart.

        Args:
            context: The model as it was, and the rows.

        Returns:
            Sentences.
        """
        found = context.once("loreun", lambda: self._weights(context)).values()
        if max(found) >= ALIKE * min(found):
            return []
        return [
            f"loreun's weights of the forget rows lie between {min(found):.2f} and {max(found):.2f}, their losses being alike: this is gradient difference. "
            "A lower `loreun_tau` separates them."
        ]

    def _of_rows(self, step: "StepView") -> dict[str, float]:
        """Static weights by row, from the losses of all forget rows under the model before."""
        if "loreun" not in step.context.kept:
            with step.reference.active():
                return step.context.once("loreun", lambda: self._weights(step.context))
        return step.context.kept["loreun"]

    def _weights(self, context: "Context") -> dict[str, float]:
        """Static weights by row, from the losses of all forget rows under the model as it is."""
        from unweave.gradients.scoring import example_losses
        from unweave.weights.controls import loreun_weights

        examples = [row.example for row in context.rows if row.is_forget]
        pad = context.loaded.tokenizer.pad_token_id
        losses = example_losses(context.loaded.model, examples, pad_token_id=pad)
        return dict(zip(losses.row_ids, loreun_weights(losses.means(), self), strict=True))
