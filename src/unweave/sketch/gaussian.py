"""Dense Gaussian projection (Johnson and Lindenstrauss): entries N(0, 1/K), as TRAK uses.

Var <Sx, Sy> = (|x|^2 |y|^2 + <x,y>^2) / K. Every coordinate meets every bin, so the work is D times K: for small models, and as a yardstick.
The matrix is drawn block by block from the seed, the tensor's name and the block, on the CPU, and never kept.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.sketch.base import Sizes
from unweave.sketch.hashing import tensor_key

BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Gaussian:
    """A dense random matrix that exists one block at a time.

    Attributes:
        dimension: K.
        seed: Another seed gives an independent sketch.
    """

    dimension: int
    seed: int = 0
    name: str = "gaussian"

    @classmethod
    def for_sizes(cls, sizes: Sizes, *, dimension: int, seed: int = 0, **_: Any) -> "Gaussian":
        """Make the sketch of a model.

        Args:
            sizes: Not needed.
            dimension: K.
            seed: The seed.

        Returns:
            The sketch.
        """
        del sizes
        return cls(dimension, seed)

    def add(
        self, out: Float[Tensor, "B K"], tensor: str, piece: Float[Tensor, "B D"], scale: Float[Tensor, " B"]
    ) -> None:
        """See `Sketch.add`.

        Args:
            out: The sketches under construction.
            tensor: The tensor's name.
            piece: Its gradients.
            scale: A factor for each example.
        """
        rows = max(1, BLOCK_VALUES // self.dimension)
        scaled = piece.float() * scale[:, None]
        for block, start in enumerate(range(0, piece.shape[1], rows)):
            part = scaled[:, start : start + rows]
            generator = torch.Generator().manual_seed((tensor_key(self.seed, tensor) << 24) + block)
            matrix = torch.randn(part.shape[1], self.dimension, generator=generator)
            out += part @ matrix.to(piece.device) / self.dimension**0.5
