"""One pass over a store: the inner products of all rows with all queries, straight from the stored numbers.

A scan is limited by reading, so nothing is converted first. float16 and int8 rows are multiplied as they are, with float32 and exact int32
accumulation, by NumKong; sign bits are compared by exclusive or and popcount. Queries are rounded to the rows' format: over K coordinates the
rounding errors cancel to 1e-5 of |q| |x| or less. float32 stores, and sketches too short for that, are decoded and multiplied in float32.

Blocks are mapped one a thread and given back, so memory stays within `threads * BLOCK_BYTES` and the scores, whatever the size of the store.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unweave.sketch.numbers import encode_numbers
from unweave.store.base import Store
from unweave.store.shards import BLOCK_BYTES, Block, Stored

SHORT = 1024
PART = 16_384


@dataclass(frozen=True)
class BlockScores:
    """The scores of one block.

    Attributes:
        row_ids: Its rows.
        scores: A score for each query and row.
    """

    row_ids: list[str]
    scores: Float[Tensor, "q n"]


def scan(
    store: Store,
    queries: Float[Tensor, "q K"],
    *,
    similarity: str = "dot",
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[BlockScores]:
    """Score every row of a store against queries.

    Args:
        store: The store.
        queries: Sketches of the queries.
        similarity: `dot`, or `cosine` of the sketches.
        block_bytes: The most bytes of sketches that a thread maps at once.

    Yields:
        The scores of block after block, in scan order.
    """
    queries = queries.float().cpu()
    if similarity == "cosine":
        queries = torch.nn.functional.normalize(queries, dim=1)
    product = _product(store, queries)

    def score(block: Block) -> BlockScores:
        stored = store.load(block)
        found = product(stored)
        if similarity == "cosine":
            found = found / torch.where(stored.lengths > 0, stored.lengths, 1.0)
        if block.kept is not None:
            found = found[:, list(block.kept)]
        return BlockScores(block.row_ids, found)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(score, store.blocks(block_bytes=block_bytes))


def _product(store: Store, queries: Tensor) -> Callable[[Stored], Tensor]:
    """What multiplies stored rows with the queries: [q, n]."""
    number_format, dimension = store.spec.number_format, store.spec.dimension
    if number_format == "sign":
        return _by_signs(queries, dimension)
    if number_format == "float32" or dimension < SHORT:
        return lambda stored: _in_parts(queries, store.decode(stored.values, stored.scales))
    return _by_numkong(queries, number_format)


def _in_parts(queries: Tensor, rows: Tensor) -> Tensor:
    """queries @ rows^T in float64, part by part: in a float32 sum of millions of terms the small ones are lost."""
    total = torch.zeros(len(queries), len(rows), dtype=torch.float64)
    for start in range(0, queries.shape[1], PART):
        part = slice(start, start + PART)
        total += queries[:, part].double() @ rows[:, part].double().T
    return total.float()


def _by_numkong(queries: Tensor, number_format: str) -> Callable[[Stored], Tensor]:
    import numkong

    rounded, steps = encode_numbers(queries, number_format)
    packed: Any = numkong.dots_pack(rounded.numpy())

    def product(stored: Stored) -> Tensor:
        dots = torch.from_numpy(np.asarray(numkong.dots_packed(stored.values, packed)).astype(np.float32, copy=False))
        return (dots * stored.scales[:, None]).T * steps[:, None]

    return product


def _by_signs(queries: Tensor, dimension: int) -> Callable[[Stored], Tensor]:
    """|q| |x| cos(pi h / K) for a Hamming distance h: what the angle between two vectors is when their signs differ in h places."""
    from unweave.sketch.kernels.popcount import hamming_distances

    packed, lengths = encode_numbers(queries, "sign")

    def product(stored: Stored) -> Tensor:
        distances = torch.from_numpy(hamming_distances(stored.values, packed.numpy()))
        cosines = torch.cos(distances.float() * (pi / dimension))
        return (cosines * stored.scales[:, None]).T * lengths[:, None]

    return product
