"""OPORP: one permutation and one random projection (Li and Li, KDD 2023, arXiv 2302.03505).

The concatenated gradient is permuted, multiplied by random signs, and cut into K bins of equal length whose entries are added up. With
uniformly mixed bins,

    Var <Sx, Sy> = ((D-K)/(D-1)) (1/K) (|x|^2 |y|^2 + <x,y>^2 - 2 sum_i x_i^2 y_i^2).

It is the yardstick for `fold`, which has the same variance for D far above K (at most (D - 1) / (D - K) times it) without a table of D entries.
"""

from typing import Any

import numpy as np

from unweave.sketch.base import Sizes
from unweave.sketch.tables import TableSketch


class Oporp(TableSketch):
    """One permutation, one sign a coordinate, bins of equal length."""

    name = "oporp"

    @classmethod
    def for_sizes(cls, sizes: Sizes, *, dimension: int, seed: int = 0, **_: Any) -> "Oporp":
        """Draw the permutation and the signs.

        Args:
            sizes: Coordinates of each tensor.
            dimension: K; where it does not divide D the last bin is shorter, as with zeros appended.
            seed: The seed.

        Returns:
            The sketch.
        """
        total = sum(sizes.values())
        padded = -(-total // dimension) * dimension
        rng = np.random.default_rng(seed)
        bins = (rng.permutation(padded)[:total] // (padded // dimension)).astype(np.int32)
        return cls(sizes, dimension, bins, rng.integers(0, 2, total, dtype=np.int8) > 0)
