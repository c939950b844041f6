"""Two-sided sketch of linear layers, taken from the factors: S_left G S_right^T, as LoGra's projection but with sparse sides.

G = sum_t l_t r_t^T is never made. Each token's l_t and r_t are folded to 128 coordinates (see `fold`), and the sum of the products of
these is 16,384 numbers, which are added to one of the K / 16,384 slots of the sketch, by a hash of the layer's name: per token 2 x 16,384
operations in place of 2 D. For sides of s bins and a rank-one G,

    Var |S G|^2 / |G|^4  is about  4/s + 4/s^2,

much above a vector sketch's 2/K. It averages out over the layers of a model, whose sides are independent: with 210 layers of equal weight it is that of a
vector sketch of about 13,000. Fast for full weight matrices, where making G costs as much as the backward pass; for LoRA factors `fold` is better and no
slower. Other tensors (biases, norms) are folded.

With `normalize = tensor` each layer is divided by the norm of its sketch: G's own is not known without making G (where a
cosine is wanted, normalising the sketches has the smaller variance).
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.errors import ConfigError
from unweave.sketch.base import Shapes, Sizes, reciprocal_root
from unweave.sketch.fold import Fold
from unweave.sketch.hashing import offsets, tensor_key
from unweave.sketch.kernels.dispatch import kernel

SIDE = 128


@dataclass(frozen=True)
class Kronecker:
    """Folded sides, dense products.

    Attributes:
        dimension: K, a power of two of at least 1,024. Below 16,384 the sides shrink with it.
        seed: Another seed gives an independent sketch.
        shapes: Shape of each tensor; those that are no matrices are folded.
    """

    dimension: int
    seed: int = 0
    shapes: Shapes = field(default_factory=dict)
    name: str = "kronecker"

    def __post_init__(self):
        if self.dimension < 1024 or self.dimension & (self.dimension - 1):
            raise ConfigError(
                f"A kronecker sketch of dimension {self.dimension} is not possible.",
                where="`dimension`",
                remedy="give a power of two, 1024 or more",
            )

    @classmethod
    def for_sizes(
        cls, sizes: Sizes, *, dimension: int, seed: int = 0, shapes: Shapes | None = None, **_: Any
    ) -> "Kronecker":
        """Make the sketch of a model.

        Args:
            sizes: Not needed.
            dimension: K.
            seed: The seed.
            shapes: Shape of each tensor.

        Returns:
            The sketch.
        """
        del sizes
        return cls(dimension, seed, shapes or {})

    @property
    def side(self) -> int:
        """Bins of either side."""
        return min(SIDE, 1 << (self.dimension.bit_length() - 1) // 2)

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
        shape = self.shapes.get(tensor, ())
        if len(shape) != 2:
            Fold(self.dimension, self.seed).add(out, tensor, piece, scale)
            return
        by_rows = self._side(tensor, "right", piece.float().view(len(piece), *shape))
        both = self._side(tensor, "left", by_rows.mT.contiguous()).mT
        self._place(out, tensor, both.flatten(1), scale)

    def add_factors(
        self,
        out: Float[Tensor, "B K"],
        tensor: str,
        left: Float[Tensor, "B T rows"],
        right: Float[Tensor, "B T columns"],
        *,
        normalize: bool,
    ) -> Float[Tensor, " B"]:
        """Add the sketch of sum_t left_t right_t^T to `out`, in place.

        Args:
            out: The sketches under construction.
            tensor: The tensor's name.
            left: One factor of each token, zero on padding.
            right: The other.
            normalize: Divide by the sketch's norm.

        Returns:
            The squared norm of each example's sketch before division: an unbiased estimate of the gradient's.
        """
        sides = self._side(tensor, "left", left), self._side(tensor, "right", right)
        product = torch.bmm(sides[0].mT, sides[1]).flatten(1)
        squares = kernel("row_squares", out.device)(product)
        self._place(out, tensor, product, reciprocal_root(squares) if normalize else torch.ones_like(squares))
        return squares

    def _place(self, out: Tensor, tensor: str, product: Tensor, scale: Tensor) -> None:
        """Add a tensor's products to its slot."""
        slot = tensor_key(self.seed, f"{tensor}:slot") % (self.dimension // product.shape[1])
        kernel("scaled_add", out.device)(out, slot * product.shape[1], product, scale)

    def _side(self, tensor: str, side: str, factor: Tensor) -> Tensor:
        key = tensor_key(self.seed, f"{tensor}:{side}")
        shifts = offsets(key, -(-factor.shape[-1] // self.side), self.side, device=factor.device)
        folded = kernel("fold_many", factor.device)(factor.flatten(0, 1), key, shifts, self.side)
        # In the model's own bfloat16 the product of the sides is three times faster.
        dtype = torch.bfloat16 if factor.dtype == torch.bfloat16 else torch.float32
        return folded.view(*factor.shape[:2], self.side).to(dtype)
