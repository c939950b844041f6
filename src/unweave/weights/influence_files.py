"""Influence blocks from RapidIn's result files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unweave.attribution.formats.rapidin import InfluenceEntry, read_influence_file
from unweave.errors import DataError
from unweave.weights.blocks import Blocks, ListBlock, Ranking

MOST_ROWS = 10_000_000
"""A number a row is made for each query: a broken index must not fill the memory."""


def blocks_from_files(
    *, f2f: Path, f2r: Path, r2f: Path, r2r: Path, n_forget: int | None = None, n_retain: int | None = None
) -> Blocks:
    """Read the four blocks.

    Args:
        f2f: Queries F on rows F.
        f2r: Queries R on rows F: RapidUn's code names a file by its rows first.
        r2f: Queries F on rows R.
        r2r: Queries R on rows R.
        n_forget: Forget rows; by default as many as the files name.
        n_retain: Retain rows; the same.

    Returns:
        The blocks, with every list in its order.

    Raises:
        DataError: When a file is broken, or names no row or impossible ones.
    """
    ff, fr, rf, rr = (read_influence_file(path) for path in (f2f, f2r, r2f, r2r))
    forget = n_forget if n_forget is not None else _rows_named("forget", "`f2f`, `f2r`", ff, fr)
    retain = n_retain if n_retain is not None else _rows_named("retain", "`r2f`, `r2r`", rf, rr)
    return Blocks(
        ff=block_of_entries(ff, forget),
        fr=block_of_entries(fr, forget),
        rf=block_of_entries(rf, retain),
        rr=block_of_entries(rr, retain),
    )


def block_of_entries(entries: Sequence[InfluenceEntry], rows: int) -> ListBlock:
    """A block of a file's lists.

    Args:
        entries: One a query.
        rows: Number of rows.

    Returns:
        The block.
    """
    return ListBlock([_ranking(own.helpful) for own in entries], [_ranking(own.harmful) for own in entries], rows)


def _ranking(pairs: Sequence[tuple[int, float]]) -> Ranking:
    # An index beyond int64 is no row's, as is the largest of int64.
    most = np.iinfo(np.int64).max
    indices = np.array([min(index, most) for index, _ in pairs], dtype=np.int64)
    return indices, np.array([value for _, value in pairs], dtype=np.float64)


def _rows_named(kind: str, where: str, *files: Sequence[InfluenceEntry]) -> int:
    """One more than the largest row index in any list."""
    indices = (
        index
        for entries in files
        for entry in entries
        for pairs in (entry.helpful, entry.harmful)
        for index, _ in pairs
    )
    last = max(indices, default=-1)
    if last < 0:
        raise DataError(
            f"The influence files name no {kind} row: all their lists are empty.",
            where=where,
            remedy="give the files of a run that kept some rows of each query",
        )
    if last >= MOST_ROWS:
        raise DataError(
            f"The influence files name the {kind} row {last}: that is hardly the index of a row.",
            where=where,
            remedy=f"write the files anew, or give n_{kind}, the number of rows",
        )
    return 1 + last
