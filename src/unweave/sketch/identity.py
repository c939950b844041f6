"""No compression: the concatenated gradient itself, for small models and as the truth that sketches are compared with."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from unweave.sketch.base import Sizes, starts_of


@dataclass(frozen=True)
class Identity:
    """The gradient as it is.

    Attributes:
        dimension: D, the sum of all sizes.
        starts: Where each tensor begins.
    """

    dimension: int
    starts: dict[str, int]
    name: str = "none"

    @classmethod
    def for_sizes(cls, sizes: Sizes, *, dimension: int = 0, seed: int = 0, **_: Any) -> "Identity":
        """Make the identity of a model.

        Args:
            sizes: Coordinates of each tensor.
            dimension: Ignored: there is nothing to choose.
            seed: Ignored: nothing is random.

        Returns:
            The identity.
        """
        del dimension, seed
        return cls(sum(sizes.values()), starts_of(sizes))

    def add(
        self, out: Float[Tensor, "B K"], tensor: str, piece: Float[Tensor, "B D"], scale: Float[Tensor, " B"]
    ) -> None:
        """See `Sketch.add`.

        Args:
            out: The gradients under construction.
            tensor: The tensor's name.
            piece: Its gradients.
            scale: A factor for each example.
        """
        start = self.starts[tensor]
        out[:, start : start + piece.shape[1]] += piece * scale[:, None]
