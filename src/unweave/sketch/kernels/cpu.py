"""The sketches' inner loops on the CPU, compiled by numba on first use and kept in its cache.

One pass over the gradients, which are read as they come (float32 or bfloat16): nothing is converted, signed or scaled in memory first. A bfloat16
number is the upper half of a float32, so both are read as bits and shifted into place; a sign is one flipped bit.

Work is divided by example; a single long vector is cut into parts, each with a sum of its own. Who adds what does not depend on the number of
threads, so results do not either.
"""

import functools
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core.extending import intrinsic
from torch import Tensor

from unweave.sketch.hashing import signs
from unweave.sketch.kernels.compiled import compiled

# The work queue of numba's own, its last choice, costs a tenth of a millisecond a call and must not be entered by two threads.
numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]  # type: ignore[attr-defined]

LONG = 1 << 21
PARTS = 8
u32 = np.uint32


@intrinsic
def _as_float(context: Any, bits: Any = None) -> Any:  # noqa: ARG001  # numba calls it
    """The float32 that has these bits."""
    return types.float32(types.uint32), lambda _, builder, __, arguments: builder.bitcast(arguments[0], ir.FloatType())


@numba.njit(inline="always")
def _mix(word):
    word = u32(u32(word ^ (word >> u32(16))) * u32(0x85EBCA6B))
    word = u32(u32(word ^ (word >> u32(13))) * u32(0xC2B2AE35))
    return u32(word ^ (word >> u32(16)))


@numba.njit(inline="always")
def _hash_word(key, counter):
    """`unweave.sketch.hashing.hash_words` for one counter."""
    return _mix(u32(_mix(u32(counter ^ key)) + u32(0x9E3779B9) + key))


@numba.njit(inline="always")
def _value(bits, shift):
    return _as_float(u32(u32(bits) << shift))


@numba.njit(inline="always")
def _signed(bits, shift, minus, lane):
    return _as_float(u32(u32(u32(bits) << shift) ^ u32(u32(u32(minus >> lane) & u32(1)) << u32(31))))


@numba.njit(nogil=True, fastmath=True)
def _fold_chunks(out, piece, shift, scale, key, offsets, first, last):
    size = len(out)
    for chunk in range(first, last):
        start = chunk * size
        width = min(size, len(piece) - start)
        offset = offsets[chunk]
        straight = min(width, size - offset)
        for word in range((width + 31) // 32):
            minus = u32(~_hash_word(key, u32((start >> 5) + word)))
            begin, end = word * 32, min(word * 32 + 32, width)
            if end - begin == 32 and (end <= straight or begin >= straight):
                target = begin + offset if end <= straight else begin - straight
                source, bins = piece[start + begin : start + end], out[target : target + 32]
                for lane in range(32):
                    bins[lane] += _signed(source[lane], shift, minus, u32(lane)) * scale
            else:
                turn = min(max(straight, begin), end)
                for index in range(begin, turn):
                    out[index + offset] += _signed(piece[start + index], shift, minus, u32(index - begin)) * scale
                for index in range(turn, end):
                    out[index - straight] += _signed(piece[start + index], shift, minus, u32(index - begin)) * scale


@compiled(parallel=True, nogil=True, fastmath=True)
def _fold_rows(out, pieces, shift, scales, key, offsets):
    for row in numba.prange(len(pieces)):
        _fold_chunks(out[row], pieces[row], shift, scales[row], key, offsets, 0, len(offsets))


@compiled(parallel=True, nogil=True, fastmath=True)
def _fold_parts(parts, piece, shift, scale, key, offsets):
    for part in numba.prange(len(parts)):
        parts[part, :] = 0
        first, last = part * len(offsets) // len(parts), (part + 1) * len(offsets) // len(parts)
        _fold_chunks(parts[part], piece, shift, scale, key, offsets, first, last)


@numba.njit(inline="always")
def _add_flipped(target, source, shift, flips):
    # Slices of their own: with offsets in the index the loop is not vectorised.
    for index in range(len(target)):
        target[index] += _as_float(u32(u32(u32(source[index]) << shift) ^ flips[index]))


@compiled(parallel=True, nogil=True, fastmath=True)
def _fold_narrow(out, pieces, shift, flips, offsets):
    size = out.shape[1]
    for row in numba.prange(len(pieces)):
        sums, values = out[row], pieces[row]
        sums[:] = 0
        for chunk in range(len(offsets)):
            start, offset = chunk * size, offsets[chunk]
            width = min(size, len(values) - start)
            straight = min(width, size - offset)
            middle, end = start + straight, start + width
            _add_flipped(sums[offset : offset + straight], values[start:middle], shift, flips[start:middle])
            _add_flipped(sums[: width - straight], values[middle:end], shift, flips[middle:end])


@numba.njit(nogil=True, fastmath=True)
def _table_range(out, piece, shift, scale, bins, signs, first, last):
    for index in range(first, last):
        minus = u32(~u32(signs[index >> 5]))
        out[bins[index]] += _signed(piece[index], shift, minus, u32(index & 31)) * scale


@compiled(parallel=True, nogil=True, fastmath=True)
def _table_rows(out, pieces, shift, scales, bins, signs):
    for row in numba.prange(len(pieces)):
        _table_range(out[row], pieces[row], shift, scales[row], bins, signs, 0, pieces.shape[1])


@compiled(parallel=True, nogil=True, fastmath=True)
def _table_parts(parts, piece, shift, scale, bins, signs):
    for part in numba.prange(len(parts)):
        parts[part, :] = 0
        # Parts begin at whole words of signs.
        words = (len(piece) + 31) // 32
        first, last = part * words // len(parts) * 32, min(len(piece), (part + 1) * words // len(parts) * 32)
        _table_range(parts[part], piece, shift, scale, bins, signs, first, last)


@compiled(parallel=True, nogil=True, fastmath=True)
def _outer_rows(out, pieces, shift, scales, left_bins, right_bins, left_signs, right_signs):
    size = out.shape[1]
    columns = len(right_bins)
    for row in numba.prange(len(pieces)):
        sums = out[row]
        for i in range(len(left_bins)):
            factor = left_signs[i] * scales[row]
            for j in range(columns):
                bin_ = left_bins[i] + right_bins[j]
                if bin_ >= size:
                    bin_ -= size
                sums[bin_] += _value(pieces[row, i * columns + j], shift) * right_signs[j] * factor


@compiled(parallel=True, nogil=True, fastmath=True)
def _scaled_rows(out, first, pieces, shift, scales):
    for row in numba.prange(len(pieces)):
        target = out[row, first : first + pieces.shape[1]]
        for index in range(pieces.shape[1]):
            target[index] += _value(pieces[row, index], shift) * scales[row]


@compiled(parallel=True, nogil=True, fastmath=True)
def _row_squares(out, pieces, shift):
    for row in numba.prange(len(pieces)):
        total = np.float32(0)
        for index in range(pieces.shape[1]):
            value = _value(pieces[row, index], shift)
            total += value * value
        out[row] = total


def fold_add(out: Tensor, piece: Tensor, scale: Tensor, key: int, offsets: Tensor) -> None:
    """Add `scale` times the fold sketch of a tensor's gradients to `out`, in place.

    Args:
        out: Sketches [B, K], float32.
        piece: Gradients [B, D], float32 or bfloat16.
        scale: A factor for each example, float32.
        key: The tensor's key.
        offsets: The offset of each chunk of K coordinates, int64.
    """
    bits, shift = _bits(piece)
    _set_threads()
    if len(piece) > 1 or piece.shape[1] < LONG:
        _fold_rows(out.numpy(), bits, shift, scale.numpy(), u32(key), offsets.numpy())
    else:
        parts = np.empty((PARTS, out.shape[1]), dtype=np.float32)
        _fold_parts(parts, bits[0], shift, scale.numpy()[0], u32(key), offsets.numpy())
        out[0] += torch.from_numpy(parts.sum(axis=0))


def fold_many(piece: Tensor, key: int, offsets: Tensor, size: int) -> Tensor:
    """The fold sketches of many short vectors: as `fold_add` with a scale of 1, with the signs made once for all.

    Args:
        piece: Vectors [N, D], float32 or bfloat16.
        key: Their key.
        offsets: The offset of each chunk, int64.
        size: Coordinates of a sketch.

    Returns:
        [N, size], float32.
    """
    bits, shift = _bits(piece)
    _set_threads()
    out = np.empty((len(piece), size), dtype=np.float32)
    _fold_narrow(out, bits, shift, _flips(key, piece.shape[1]), offsets.numpy())
    return torch.from_numpy(out)


@functools.lru_cache(maxsize=1024)
def _flips(key: int, count: int) -> np.ndarray:
    """The sign bit of each coordinate, in its place in a float32."""
    return np.where(signs(key, 0, count).numpy() < 0, u32(1 << 31), u32(0))


def table_add(out: Tensor, piece: Tensor, scale: Tensor, bins: Tensor, plus: Tensor) -> None:
    """Add `scale` times the sketch that tables describe to `out`, in place.

    Args:
        out: Sketches [B, K], float32.
        piece: Gradients [B, D], float32 or bfloat16.
        scale: A factor for each example, float32.
        bins: The bin of each coordinate, uint16 or int32.
        plus: A bit for each coordinate, 32 in an int32; 1 is plus.
    """
    bits, shift = _bits(piece)
    _set_threads()
    words = plus.numpy().view(np.uint32)
    if len(piece) > 1 or piece.shape[1] < LONG:
        _table_rows(out.numpy(), bits, shift, scale.numpy(), bins.numpy(), words)
    else:
        parts = np.empty((PARTS, out.shape[1]), dtype=np.float32)
        _table_parts(parts, bits[0], shift, scale.numpy()[0], bins.numpy(), words)
        out[0] += torch.from_numpy(parts.sum(axis=0))


def outer_add(
    out: Tensor, piece: Tensor, scale: Tensor, bins: tuple[Tensor, Tensor], flips: tuple[Tensor, Tensor]
) -> None:
    """Add `scale` times the TensorSketch of matrices to `out`, in place.

    Args:
        out: Sketches [B, K], float32.
        piece: Matrices [B, rows x columns], float32 or bfloat16.
        scale: A factor for each example, float32.
        bins: The bin of each row and of each column, int64.
        flips: The sign of each row and of each column, float32.
    """
    bits, shift = _bits(piece)
    _set_threads()
    _outer_rows(out.numpy(), bits, shift, scale.numpy(), *(side.numpy() for side in (*bins, *flips)))


def scaled_add(out: Tensor, first: int, piece: Tensor, scale: Tensor) -> None:
    """Add `scale` times `piece` to columns of `out`, in place.

    Args:
        out: [B, K], float32.
        first: The first column.
        piece: [B, n], float32 or bfloat16.
        scale: A factor for each example, float32.
    """
    bits, shift = _bits(piece)
    _set_threads()
    _scaled_rows(out.numpy(), first, bits, shift, scale.numpy())


def row_squares(piece: Tensor) -> Tensor:
    """The squared norm of each example's gradient, accumulated in float32.

    Args:
        piece: Gradients [B, D], float32 or bfloat16.

    Returns:
        [B], float32.
    """
    bits, shift = _bits(piece)
    _set_threads()
    out = np.empty(len(piece), dtype=np.float32)
    _row_squares(out, bits, shift)
    return torch.from_numpy(out)


def _bits(piece: Tensor) -> tuple[np.ndarray, np.uint32]:
    """The numbers as unsigned integers, and how far to shift them to make float32."""
    piece = piece.detach().contiguous()
    if piece.dtype == torch.bfloat16:
        return piece.view(torch.int16).numpy().view(np.uint16), u32(16)
    return piece.float().numpy().view(np.uint32), u32(0)


def _set_threads() -> None:
    """As many threads as torch has.

    Numba's first launch tells the OpenMP runtime, which torch shares, to use every core: torch would train on with more threads than it was given.
    """
    threads = torch.get_num_threads()
    wanted = min(threads, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    if numba.get_num_threads() != wanted:
        numba.set_num_threads(wanted)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
