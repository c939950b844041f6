"""Stable forgetting: gradient difference on a bounded adapter, whose change of each weight can't exceed a gain (arXiv 2509.24166).

Plain low-rank ascent grows without bound; here delta W = gain * sin(omega A B) or gain * tanh(omega A B): neither the change nor its gradient can explode.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unweave.unlearning.methods.base import ALL_REQUESTS
from unweave.unlearning.methods.graddiff import GradDiff

if TYPE_CHECKING:
    from unweave.unlearning.context import Context


@dataclass(frozen=True, kw_only=True)
class Stable(GradDiff):
    """Gradient difference on a bounded adapter of the MLP's linear layers.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.Stable(bound="tanh"), epochs=1).method
        'stable'

    Attributes:
        bound: The bounded function.
        omega: Factor within it (the paper: about 100).
        gain: Factor in front of it, the largest change of a weight; the paper's text leaves it open. By default the mean magnitude of each layer's
            weights.
        rank: Of A B (the paper: 4 to 32).
        bounded_targets: Modules that get the adapter: names, comma-separated.
    """

    name: ClassVar = "stable"
    summary: ClassVar = "gradient difference on a bounded adapter of the MLP; saves a whole model"
    paper: ClassVar = "Stable Forgetting, arXiv 2509.24166"
    cost: ClassVar = "one forward and one backward pass a step, and a product of every bounded weight's size"
    requests: ClassVar = ALL_REQUESTS
    own_adapter: ClassVar = True
    search: ClassVar = {"learning_rate": (1e-5, 3e-5, 1e-4), "gamma": (0.3, 1.0)}

    bound: Literal["sin", "tanh"] = "sin"
    omega: float = 100.0
    gain: float | None = None
    rank: int = 8
    bounded_targets: str = "gate_proj,up_proj,down_proj"

    def prepare(self, context: "Context") -> "Context":
        """Merge the model's adapter and put the bounded one on.

        Args:
            context: The model.

        Returns:
            The same with the new model.
        """
        from unweave.unlearning.bounded import put_on

        return put_on(self, context)

    def details(self, context: "Context") -> dict[str, Any]:
        """How large the change of the weights is, and what of it the model's own dtype would keep.

        Args:
            context: The trained model.

        Returns:
            The change relative to the weights it is added to, the share that rounding would take, and cautions.
        """
        from unweave.unlearning.bounded import sizes_of_change

        return sizes_of_change(context.loaded.model)

    def finish(self, context: "Context") -> "Context":
        """Make the change part of the weights.

        Args:
            context: The trained model.

        Returns:
            A whole model.
        """
        from unweave.unlearning.bounded import take_in

        return take_in(context)
