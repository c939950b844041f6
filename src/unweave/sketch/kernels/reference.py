"""The sketches' inner loops in plain torch: slow, short, and what the fused kernels are tested against. Any device."""

from collections.abc import Callable

import torch
from torch import Tensor

from unweave.sketch.hashing import signs as hashed_signs


def fold_add(out: Tensor, piece: Tensor, scale: Tensor, key: int, offsets: Tensor) -> None:
    """See `unweave.sketch.kernels.cpu.fold_add`.

    Args:
        out: Sketches under construction.
        piece: Gradients.
        scale: A factor for each example.
        key: The tensor's key.
        offsets: The offset of each chunk.
    """
    size = out.shape[1]
    for start, begin in zip(range(0, piece.shape[1], size), offsets.tolist(), strict=True):
        part = piece[:, start : start + size]
        width = part.shape[1]
        signed = part.float() * hashed_signs(key, start, width, device=piece.device) * scale[:, None]
        straight = min(width, size - begin)
        out[:, begin : begin + straight] += signed[:, :straight]
        if straight < width:
            out[:, : width - straight] += signed[:, straight:]


def fold_many(piece: Tensor, key: int, offsets: Tensor, size: int, *, add: Callable[..., None] = fold_add) -> Tensor:
    """See `unweave.sketch.kernels.cpu.fold_many`.

    Args:
        piece: Vectors.
        key: Their key.
        offsets: The offset of each chunk.
        size: Coordinates of a sketch.
        add: The `fold_add` to make them with.

    Returns:
        The sketches.
    """
    out = torch.zeros(len(piece), size, device=piece.device)
    add(out, piece, torch.ones(len(piece), device=piece.device), key, offsets)
    return out


def table_add(out: Tensor, piece: Tensor, scale: Tensor, bins: Tensor, signs: Tensor) -> None:
    """See `unweave.sketch.kernels.cpu.table_add`.

    Args:
        out: Sketches under construction.
        piece: Gradients.
        scale: A factor for each example.
        bins: The bin of each coordinate.
        signs: A bit for each coordinate.
    """
    lanes = torch.arange(32, device=piece.device, dtype=torch.int32)
    bits = ((signs.to(piece.device)[:, None] >> lanes) & 1).reshape(-1)[: piece.shape[1]]
    signed = piece.float() * (bits * 2 - 1) * scale[:, None]
    out.index_add_(1, bins.to(piece.device, torch.int64), signed)


def outer_add(
    out: Tensor, piece: Tensor, scale: Tensor, bins: tuple[Tensor, Tensor], signs: tuple[Tensor, Tensor]
) -> None:
    """See `unweave.sketch.kernels.cpu.outer_add`.

    Args:
        out: Sketches under construction.
        piece: Matrices.
        scale: A factor for each example.
        bins: The bin of each row and column.
        signs: The sign of each row and column.
    """
    # Moved first: their products are as large as the matrix.
    (left, right), (left_signs, right_signs) = ([side.to(piece.device) for side in own] for own in (bins, signs))
    places = ((left[:, None] + right[None, :]) % out.shape[1]).reshape(-1)
    flips = (left_signs[:, None] * right_signs[None, :]).reshape(-1)
    out.index_add_(1, places, piece.float() * flips * scale[:, None])


def scaled_add(out: Tensor, first: int, piece: Tensor, scale: Tensor) -> None:
    """See `unweave.sketch.kernels.cpu.scaled_add`.

    Args:
        out: Sketches under construction.
        first: The first column.
        piece: What to add.
        scale: A factor for each example.
    """
    out[:, first : first + piece.shape[1]] += piece.float() * scale[:, None]


def row_squares(piece: Tensor) -> Tensor:
    """See `unweave.sketch.kernels.cpu.row_squares`.

    Args:
        piece: Gradients.

    Returns:
        Squared norms.
    """
    return piece.float().square().sum(dim=1)
