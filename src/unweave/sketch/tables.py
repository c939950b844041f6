"""Sketches whose bins and signs come from tables: a bin and a sign bit a coordinate, drawn once from a seed."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unweave.sketch.base import Sizes
from unweave.sketch.kernels.dispatch import kernel


class TableSketch:
    """sketch[bin(i)] += sign(i) v(i).

    Args:
        sizes: Coordinates of each tensor.
        dimension: K.
        bins: The bin of each coordinate of the concatenation of all tensors.
        plus: Whether its sign is plus.
    """

    name = "table"

    def __init__(self, sizes: Sizes, dimension: int, bins: np.ndarray, plus: np.ndarray):
        self.dimension = dimension
        self._tables: dict[str, tuple[Tensor, Tensor]] = {}
        start = 0
        # Two bytes a bin where they suffice: reading the tables is most of the work.
        narrow = bins.astype(np.uint16 if dimension <= 1 << 16 else np.int32)
        for name, size in sizes.items():
            own = plus[start : start + size]
            padded = np.zeros(-(-size // 32) * 32, dtype=bool)
            padded[:size] = own
            words = np.packbits(padded, bitorder="little").view(np.int32)
            self._tables[name] = torch.from_numpy(narrow[start : start + size].copy()), torch.from_numpy(words)
            start += size

    @property
    def bytes(self) -> int:
        """Memory of the tables."""
        return sum(table.nbytes for tables in self._tables.values() for table in tables)

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
        bins, signs = self._tables[tensor]
        if bins.device != piece.device:
            if bins.dtype == torch.uint16:
                bins = bins.to(torch.int32)
            bins, signs = self._tables[tensor] = bins.to(piece.device), signs.to(piece.device)
        kernel("table_add", piece.device)(out, piece, scale, bins, signs)
