"""Parquet."""

import io
import tempfile
from collections.abc import Iterator
from typing import Any

from unweave.data.sources.base import Found, Record
from unweave.data.sources.opening import Input
from unweave.data.sources.plain import plain
from unweave.errors import DataError

BATCH = 1024


def read_parquet(file: Input) -> Iterator[Found]:
    """Read a Parquet file, a batch of rows at a time.

    Args:
        file: The file.

    Yields:
        Its records; the line of a record is its position.

    Raises:
        DataError: When the file is broken, or has two columns of one name.
    """
    import pyarrow
    import pyarrow.parquet

    number = 0
    with file.open() as stream, _seekable(stream) as whole:
        try:
            with pyarrow.parquet.ParquetFile(whole) as table:
                names = table.schema_arrow.names
                if repeated := [name for name in names if names.count(name) > 1]:
                    raise DataError(
                        f"The column '{repeated[0]}' stands twice.", where=file.name, remedy="rename or remove one"
                    )
                for batch in table.iter_batches(batch_size=BATCH):
                    for record in records_of(batch):
                        number += 1
                        yield Found(file.name, number, record)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            place = f"{file.name}:{number + 1}" if number else file.name
            raise DataError(
                f"The Parquet file can't be read: {str(error).rstrip('.')}.",
                where=place,
                remedy="copy or write it anew",
            ) from error


def records_of(batch: Any) -> Iterator[Record]:
    """The rows of an Arrow table or batch of rows.

    Args:
        batch: The table, with distinct column names.

    Yields:
        Column to plain value.
    """
    columns = [_values(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield {name: plain(value) for name, value in zip(batch.schema.names, values, strict=True)}


def _values(column: Any) -> list[Any]:
    import pyarrow

    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        # Written by something that does not check: what is text is read as such, the rest is bytes.
        return column.cast(pyarrow.binary()).to_pylist()
    except (ValueError, OverflowError, ArithmeticError):
        # Times that Python has no type for: before the year 1, or finer than microseconds.
        return column.cast(pyarrow.string()).to_pylist()


def _seekable(stream: io.BufferedReader) -> Any:
    """The stream where one can go to its end and back, a copy of it elsewhere."""
    if isinstance(stream.raw, io.FileIO | io.BytesIO):
        return stream
    copy = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    try:
        while chunk := stream.read(1 << 20):
            copy.write(chunk)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy
