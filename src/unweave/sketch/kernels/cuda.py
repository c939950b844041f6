"""The sketches' inner loops on CUDA, in Triton.

Fold needs no atomic additions: a program owns a block of bins of one example and walks through the chunks, so sums have one order and the
result is the same in every run. Tables scatter, with atomics.
"""

from functools import partial
from typing import Any

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

from unweave.sketch.kernels import reference

BLOCK = 1024
"""The most bins, or coordinates, of one program."""


@triton.jit
def _mix(word):
    word = (word ^ (word >> 16)) * 0x85EBCA6B
    word = (word ^ (word >> 13)) * 0xC2B2AE35
    return word ^ (word >> 16)


# Keys and numbers of chunks differ from tensor to tensor: a kernel of its own for each kind of them would be compiled in the first batch.
@triton.jit(do_not_specialize=["key", "chunks"])
def _fold(out, pieces, scales, offsets, key, size, coordinates, chunks, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    bins = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = bins < size
    word_key = key.to(tl.uint32)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    start = tl.zeros((), dtype=tl.int64)
    for chunk in range(chunks):
        place = bins - tl.load(offsets + chunk)
        place = tl.where(place < 0, place + size, place)
        index = start + place
        here = inside & (index < coordinates)
        value = tl.load(pieces + row * coordinates + index, mask=here, other=0.0).to(tl.float32)
        word = _mix((index >> 5).to(tl.uint32) ^ word_key)
        word = _mix(word + 0x9E3779B9 + word_key)
        plus = (word >> (index & 31).to(tl.uint32)) & 1
        total += tl.where(plus == 1, value, -value)
        start += size
    where = out + row * size + bins
    tl.store(where, tl.load(where, mask=inside, other=0.0) + total * tl.load(scales + row), mask=inside)


@triton.jit
def _table(out, pieces, scales, bins, signs, size, coordinates, BLOCK: tl.constexpr):
    # The second axis of a grid ends at 65,535, which the blocks of a large output head exceed.
    row = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < coordinates
    value = tl.load(pieces + row * coordinates + index, mask=inside, other=0.0).to(tl.float32)
    plus = (tl.load(signs + (index >> 5), mask=inside, other=0) >> (index & 31).to(tl.int32)) & 1
    value = tl.where(plus == 1, value, -value) * tl.load(scales + row)
    target = tl.load(bins + index, mask=inside, other=0).to(tl.int64)
    tl.atomic_add(out + row * size + target, value, mask=inside)


def fold_add(out: Tensor, piece: Tensor, scale: Tensor, key: int, offsets: Tensor) -> None:
    """See `unweave.sketch.kernels.cpu.fold_add`.

    Args:
        out: Sketches under construction.
        piece: Gradients.
        scale: A factor for each example.
        key: The tensor's key.
        offsets: The offset of each chunk.
    """
    piece, size = piece.contiguous(), out.shape[1]
    block = min(BLOCK, triton.next_power_of_2(size))
    grid = (len(piece), triton.cdiv(size, block))
    launch: Any = _fold
    # A key with its highest bit set would be a 64-bit argument, and another kernel: the same bits as a signed number are not.
    signed = key - (1 << 32) if key >> 31 else key
    # Triton launches on the current device, which need not be the tensors'.
    with torch.cuda.device(piece.device):
        launch[grid](
            out, piece, scale, offsets.to(piece.device), signed, size, piece.shape[1], len(offsets), BLOCK=block
        )


def table_add(out: Tensor, piece: Tensor, scale: Tensor, bins: Tensor, signs: Tensor) -> None:
    """See `unweave.sketch.kernels.cpu.table_add`.

    Args:
        out: Sketches under construction.
        piece: Gradients.
        scale: A factor for each example.
        bins: The bin of each coordinate.
        signs: A bit for each coordinate.
    """
    piece, bins = piece.contiguous(), bins.to(piece.device)
    if bins.dtype == torch.uint16:
        bins = bins.to(torch.int32)
    grid = (triton.cdiv(piece.shape[1], BLOCK), len(piece))
    launch: Any = _table
    with torch.cuda.device(piece.device):
        launch[grid](out, piece, scale, bins, signs.to(piece.device), out.shape[1], piece.shape[1], BLOCK=BLOCK)


fold_many = partial(reference.fold_many, add=fold_add)
"""See `unweave.sketch.kernels.cpu.fold_many`."""
