"""TensorSketch (Pham and Pagh, KDD 2013): the count-sketch of an outer product, made of the count-sketches of its factors.

Row i and column j of a weight matrix have hashed bins and signs, and its coordinate (i, j) goes to bin h(i) + h'(j) mod K with sign s(i) s'(j).
For G = sum_t l_t r_t^T that is the sum over tokens of circular convolutions of the two factors' count-sketches, so

    sketch = IFFT( sum_t FFT(count-sketch of l_t) * FFT(count-sketch of r_t) ),

and G need not be made. Signs are independent in pairs only, so for matrices of high rank the variance is up to 2.6 times that of a vector sketch. Two
transforms of length K a token pay off where they are fewer operations than G has entries a token; elsewhere G is made, one module at a time, and added bin by
bin: the same sums.
"""

from dataclasses import dataclass, field
from math import log2
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.errors import ConfigError
from unweave.sketch.base import Shapes, Sizes, reciprocal_root
from unweave.sketch.fold import Fold
from unweave.sketch.hashing import hash_words, tensor_key
from unweave.sketch.kernels.dispatch import kernel


@dataclass(frozen=True)
class TensorSketch:
    """Hashed rows and columns of every matrix.

    Attributes:
        dimension: K, a multiple of 32.
        seed: Another seed gives an independent sketch.
        shapes: Shape of each tensor; those that are no matrices are folded.
    """

    dimension: int
    seed: int = 0
    shapes: Shapes = field(default_factory=dict)
    name: str = "tensorsketch"

    @classmethod
    def for_sizes(
        cls, sizes: Sizes, *, dimension: int, seed: int = 0, shapes: Shapes | None = None, **_: Any
    ) -> "TensorSketch":
        """Make the sketch of a model.

        Args:
            sizes: Coordinates of each tensor.
            dimension: K.
            seed: The seed.
            shapes: Shape of each tensor.

        Returns:
            The sketch.

        Raises:
            ConfigError: When K is no multiple of 32.
        """
        if dimension < 32 or dimension % 32:
            raise ConfigError(
                f"A TensorSketch of dimension {dimension} is not possible.",
                where="`dimension`",
                remedy="give a multiple of 32",
            )
        return cls(dimension, seed, shapes if shapes is not None else {name: (size,) for name, size in sizes.items()})

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
        shape = self.shapes[tensor]
        if len(shape) != 2:
            Fold(self.dimension, self.seed).add(out, tensor, piece, scale)
            return
        sides = [
            self._side(tensor, side, size, piece.device) for side, size in zip(("left", "right"), shape, strict=True)
        ]
        bins, signs = zip(*sides, strict=True)
        kernel("outer_add", piece.device)(out, piece, scale, bins, signs)

    def prefers_factors(self, tokens: int, rows: int, columns: int) -> bool:
        """Whether the transforms are less work than making the matrix.

        Args:
            tokens: Of the longest example.
            rows: Of the matrix.
            columns: Of the matrix.

        Returns:
            Whether to call `add_factors` rather than `add`.
        """
        transforms = 2 * (tokens + 1) * 2.5 * self.dimension * log2(self.dimension)
        return transforms < (2 * tokens + 8) * rows * columns

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
            normalize: Divide by the gradient's norm.

        Returns:
            The squared norm of each example's gradient before division, exact.
        """
        left, right = left.float(), right.float()
        squares = (torch.bmm(left, left.mT) * torch.bmm(right, right.mT)).sum(dim=(1, 2)).clamp(min=0)
        scale = reciprocal_root(squares) if normalize else torch.ones_like(squares)
        for row in range(len(out)):
            spectra = [
                torch.fft.rfft(self._count_sketch(tensor, side, factor[row]))
                for side, factor in (("left", left), ("right", right))
            ]
            summed = (spectra[0] * spectra[1]).sum(dim=0)
            out[row] += torch.fft.irfft(summed, n=self.dimension) * scale[row]
        return squares

    def _count_sketch(self, tensor: str, side: str, factor: Float[Tensor, "T n"]) -> Float[Tensor, "T K"]:
        bins, signs = self._side(tensor, side, factor.shape[1], factor.device)
        out = torch.zeros(len(factor), self.dimension, device=factor.device)
        return out.index_add_(1, bins, factor * signs)

    def _side(self, tensor: str, side: str, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        key = tensor_key(self.seed, f"{tensor}:{side}")
        words = hash_words(key, torch.arange(size, device=device))
        # Bins by multiplication take the upper bits, signs the lowest.
        return words * self.dimension >> 32, ((words & 1) * 2 - 1).float()
