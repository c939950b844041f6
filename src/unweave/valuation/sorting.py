"""Sorted tables as one, in passes: however many there are, few are open at a time."""

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unweave.replacing import replacing

OPEN_FILES = 24
"""Tables that are open at a time: far fewer than a system lets a process open."""

ROWS = 1024


def merge_sorted(tables: Sequence[Path], column: str, *, folder: Path, schema: Any) -> Iterator[Any]:
    """The rows of tables that are sorted by a column, largest first, in that order.

    Args:
        tables: The files; equal values stay in the order of these.
        column: The column.
        folder: For what is merged on the way; each of its files goes once it is merged itself.
        schema: Of the tables.

    Yields:
        Tables of some rows each.
    """
    here, turn = list(tables), 0
    while len(here) > OPEN_FILES:
        groups = [here[start : start + OPEN_FILES] for start in range(0, len(here), OPEN_FILES)]
        merged = []
        for number, group in enumerate(groups):
            place = folder / f"merged-{turn}-{number:08d}.parquet"
            with replacing(place) as out, pq.ParquetWriter(out, schema) as writer:
                for table in _merged(group, column, schema):
                    writer.write_table(table)
            merged.append(place)
            if turn:
                _remove(group)
        here, turn = merged, turn + 1
    yield from _merged(here, column, schema)
    if turn:
        _remove(here)


def _merged(tables: Sequence[Path], column: str, schema: Any) -> Iterator[Any]:
    records = heapq.merge(*(_records(table) for table in tables), key=lambda record: -record[column])
    while chunk := list(islice(records, ROWS)):
        yield pa.Table.from_pylist(chunk, schema=schema)


def _records(table: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(table) as file:
        for batch in file.iter_batches(batch_size=ROWS):
            yield from batch.to_pylist()


def _remove(tables: Sequence[Path]) -> None:
    for table in tables:
        table.unlink()
