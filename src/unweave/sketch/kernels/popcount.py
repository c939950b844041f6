"""Hamming distances of packed sign bits."""

from typing import Any

import numpy as np
from numba import types
from numba.core.extending import intrinsic

from unweave.sketch.kernels.compiled import compiled


@intrinsic
def _popcount(context: Any, word: Any = None) -> Any:  # noqa: ARG001  # numba calls it, with its context first
    return types.uint64(types.uint64), lambda _, builder, __, arguments: builder.ctpop(arguments[0])


@compiled(nogil=True)
def _distances(out, rows, queries):
    for row in range(len(rows)):
        own = rows[row]
        for query in range(len(queries)):
            other = queries[query]
            total = np.uint64(0)
            for index in range(len(own)):
                total += _popcount(own[index] ^ other[index])
            out[row, query] = total


def hamming_distances(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """In how many bits rows and queries differ.

    Args:
        rows: [n, bytes], uint8.
        queries: [q, bytes], uint8.

    Returns:
        [n, q], int32.
    """
    # Compared eight bytes at a time; what is left over is filled with zeros on both sides.
    if spare := -rows.shape[1] % 8:
        rows, queries = (np.pad(bits, ((0, 0), (0, spare))) for bits in (rows, queries))
    out = np.empty((len(rows), len(queries)), dtype=np.int32)
    _distances(out, np.asarray(rows).view(np.uint64), np.ascontiguousarray(queries).view(np.uint64))
    return out
