"""The fold+roll sketch, unweave's default.

A tensor's flattened gradient v is cut into chunks of K coordinates. Every coordinate gets a hashed sign s(i), every chunk c is rolled by a
hashed offset o(c), and the chunks of all tensors are added up:

    sketch[(i mod K + o(c)) mod K] += s(i) v(i),        c = i div K

Inner products are unbiased whatever the bins, because the signs are independent. Two coordinates of one chunk never meet; two of
different chunks or tensors meet with probability 1/K. So, for vectors x and y, with the sums over pairs i != j that are not in one chunk,

    Var <Sx, Sy> = (1/K) sum_{i,j} (x_i^2 y_j^2 + x_i y_i x_j y_j),

which is (D - 1) / (D - K) times OPORP's at most: a little more for D far above K (1.004 at 256 K), twice at D = 2 K, and never more than OPORP's where the
vectors' weight lies within chunks. The work is one multiplication and one addition a coordinate; nothing is stored, padded or concatenated.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.errors import ConfigError
from unweave.sketch.base import Sizes
from unweave.sketch.hashing import offsets, tensor_key
from unweave.sketch.kernels.dispatch import kernel


@dataclass(frozen=True)
class Fold:
    """Fold+roll, from a counter-based hash.

    Attributes:
        dimension: K, a multiple of 32.
        seed: Another seed gives an independent sketch.
    """

    dimension: int
    seed: int = 0
    name: str = "fold"

    def __post_init__(self):
        if self.dimension < 32 or self.dimension % 32:
            raise ConfigError(
                f"A fold sketch of dimension {self.dimension} is not possible.",
                where="`dimension`",
                remedy="give a multiple of 32",
            )

    @classmethod
    def for_sizes(cls, sizes: Sizes, *, dimension: int, seed: int, **_: Any) -> "Fold":
        """Make the sketch of a model; the sizes do not matter to it.

        Args:
            sizes: Coordinates of each tensor.
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
        key = tensor_key(self.seed, tensor)
        chunks = -(-piece.shape[1] // self.dimension)
        shifts = offsets(key, chunks, self.dimension, device=piece.device)
        kernel("fold_add", piece.device)(out, piece, scale, key, shifts)


def fold_matrix(sketch: Fold, sizes: Sizes) -> Float[Tensor, "K D"]:
    """The sketch as a dense matrix, for checks on small models.

    Args:
        sketch: The sketch.
        sizes: Coordinates of each tensor.

    Returns:
        One column a coordinate, in the order of `sizes`.
    """
    columns = []
    for name, size in sizes.items():
        out = torch.zeros(size, sketch.dimension)
        sketch.add(out, name, torch.eye(size), torch.ones(size))
        columns.append(out.T)
    return torch.cat(columns, dim=1)
