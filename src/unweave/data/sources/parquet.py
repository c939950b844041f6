"""Parquet."""

from collections.abc import Iterator
from pathlib import Path

from unweave.data.sources.base import Found
from unweave.errors import DataError


def read_parquet(path: Path) -> Iterator[Found]:
    """Read a Parquet file, a batch of rows at a time.

    Args:
        path: The file.

    Yields:
        Its records.

    Raises:
        DataError: When the file is broken.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    number += 1
                    yield Found(str(path), number, record)
    except pyarrow.ArrowException as error:
        raise DataError(f"The Parquet file can't be read: {error}.", where=str(path), remedy="write it anew") from error
