"""Rows that are in memory: data sets of Hugging Face, frames of pandas, tables of Arrow, and lists of dictionaries."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from unweave.data.sources.base import Found, Reading, Record
from unweave.data.sources.parquet import BATCH, records_of
from unweave.data.sources.plain import plain
from unweave.errors import DataError


def read_objects(objects: Any, reading: Reading) -> Iterator[Found]:
    """Read what a program holds.

    Args:
        objects: A `datasets.Dataset`, `IterableDataset` or `DatasetDict`, a pandas frame, an Arrow table, or dictionaries.
        reading: The split of a `DatasetDict`.

    Returns:
        Its records; the line of a record is its position.

    Raises:
        DataError: When it is none of these.
    """
    name = type(objects).__name__
    say_idle(objects, name, reading)
    if hasattr(objects, "with_format") or _is_splits(objects):
        return dataset_records(objects, name, reading)
    if hasattr(objects, "itertuples"):
        columns = [str(column) for column in objects.columns]
        return _numbered(name, (dict(zip(columns, values, strict=True)) for values in objects.itertuples(False, None)))
    if hasattr(objects, "to_batches"):
        return _numbered(name, (record for batch in objects.to_batches() for record in records_of(batch)))
    if isinstance(objects, Iterable) and not isinstance(objects, Mapping):
        return _numbered(name, objects)
    raise DataError(f"A {name} holds no rows.", remedy="give a path, a data set, a frame, or a list of dictionaries")


def say_idle(objects: Any, name: str, reading: Reading) -> None:
    """Say which options have no effect on what is loaded already.

    Args:
        objects: Rows in memory.
        name: What messages call them.
        reading: The options.
    """
    reading.say_idle(name, "subset", "data_revision")
    # A data set may be the very split that is asked for.
    if not _is_splits(objects) and str(getattr(objects, "split", None)) != reading.split:
        reading.say_idle(name, "split")


def dataset_records(data: Any, name: str, reading: Reading) -> Iterator[Found]:
    """The records of a data set of the `datasets` library; images and sounds in it are not decoded.

    Args:
        data: A `Dataset`, an `IterableDataset`, or a `DatasetDict` of either.
        name: What messages call it.
        reading: The split of a `DatasetDict`.

    Yields:
        Its records; the line of a record is its position.

    Raises:
        DataError: When it lacks the split, or can't be read to its end.
    """
    if _is_splits(data):
        split = reading.split or "train"
        if split not in data:
            raise DataError(
                f"The data set has no split '{split}'.",
                where=name,
                remedy=f"give `split` with one of: {', '.join(map(str, data))}",
            )
        data = data[split]
    number = 0
    try:
        for record in _undecoded(data):
            number += 1
            yield Found(name, number, record)
    except Exception as error:
        # A stream runs into whatever its files and the network do.
        raise DataError(
            f"The data set can't be read: {error}",
            where=f"{name}:{number + 1}",
            remedy="check its files and the network",
        ) from error


def _undecoded(data: Any) -> Iterator[Record]:
    if hasattr(data, "__len__"):
        for table in data.with_format("arrow").iter(BATCH):
            yield from records_of(table)
    else:
        # The records of a stream need not have the same columns, as those of a table must.
        for record in data if data.features is None else data.decode(False):
            yield plain(record)


def _is_splits(data: Any) -> bool:
    """Whether this is a `DatasetDict`: a dictionary of data sets."""
    return isinstance(data, Mapping) and bool(data) and all(hasattr(one, "with_format") for one in data.values())


def _numbered(name: str, records: Iterable[Any]) -> Iterator[Found]:
    for number, record in enumerate(records, start=1):
        if isinstance(record, Mapping):
            yield Found(name, number, plain(record))
        else:
            yield Found(name, number, f"a {type(record).__name__}, not a dictionary")
