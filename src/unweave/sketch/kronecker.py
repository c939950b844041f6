"""Two-sided sketch of linear layers, taken from the factors: S_left G S_right^T, as LoGra's projection but with sparse sides.

G = sum_t l_t r_t^T is never made. Each token's l_t and r_t are folded to about sqrt(K) coordinates (see `fold`), and the sum of the products of
these is K numbers: per token 2 K multiplications in place of 2 D. For independent sides with k_l and k_r bins and a rank-one G,

    Var |S G|^2 / |G|^4  is about  2/k_l + 2/k_r + 4/(k_l k_r),

much above a vector sketch's 2/K; it averages out over the many layers of a model, whose sides are independent. Fast for full weight matrices, where
making G costs as much as the backward pass; for LoRA factors `fold` is better and no slower. Other tensors (biases, norms) are folded.

With `normalize = tensor` each layer is divided by the norm of its sketch: G's own is not known without making G (METHODS section 1: where a
cosine is wanted, normalising the sketches has the smaller variance).
"""

from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.errors import ConfigError
from unweave.sketch.base import Sizes
from unweave.sketch.fold import FoldSketch


@dataclass(frozen=True)
class KroneckerSketch:
    """Folded sides, dense products.

    Attributes:
        dimension: K, a power of two of at least 1,024.
        seed: Another seed gives an independent sketch.
    """

    dimension: int
    seed: int = 0
    name: str = "kronecker"

    def __post_init__(self):
        if self.dimension < 1024 or self.dimension & (self.dimension - 1):
            raise ConfigError(
                f"A kronecker sketch of dimension {self.dimension} is not possible.",
                where="--dimension",
                remedy="give a power of two, 1024 or more",
            )

    @classmethod
    def for_sizes(cls, sizes: Sizes, *, dimension: int, seed: int = 0, **_: Any) -> "KroneckerSketch":
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

    @property
    def sides(self) -> tuple[int, int]:
        """Bins of the left and of the right side; their product is K."""
        left = 1 << int(log2(self.dimension)) // 2
        return left, self.dimension // left

    def add(
        self, out: Float[Tensor, "B K"], tensor: str, piece: Float[Tensor, "B D"], scale: Float[Tensor, " B"]
    ) -> None:
        """See `Sketch.add`; for tensors that are no linear weights.

        Args:
            out: The sketches under construction.
            tensor: The tensor's name.
            piece: Its gradients.
            scale: A factor for each example.
        """
        FoldSketch(self.dimension, self.seed).add(out, tensor, piece, scale)

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
        left, right = self._side(tensor, "left", left), self._side(tensor, "right", right)
        # |sum_t l_t r_t^T|^2 from the tokens' inner products, without reading the K products once more.
        squares = (torch.bmm(left, left.mT) * torch.bmm(right, right.mT)).sum(dim=(1, 2)).clamp(min=0)
        if normalize:
            scale = torch.where(squares > 0, squares.clamp(min=torch.finfo(squares.dtype).tiny).rsqrt(), 0.0)
            left = left * scale[:, None, None]
        out.view(len(out), *self.sides).baddbmm_(left.mT, right)
        return squares

    def _side(self, tensor: str, side: str, factor: Tensor) -> Tensor:
        bins = self.sides[side == "right"]
        tokens = factor.flatten(0, 1)
        folded = torch.zeros(len(tokens), bins, device=factor.device)
        ones = torch.ones(len(tokens), device=factor.device)
        FoldSketch(bins, self.seed).add(folded, f"{tensor}:{side}", tokens, ones)
        return folded.view(*factor.shape[:2], bins)
