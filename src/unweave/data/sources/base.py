"""What every reader gives: records, each with its place."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Record = Mapping[str, Any]


class Found(NamedTuple):
    """A record of a source.

    Attributes:
        source: The file it stands in, or the name of the data set.
        line: Its line there, from 1; in Parquet and data sets its position, from 1.
        record: Column to value; or, as text, why there is none.
    """

    source: str
    line: int
    record: Record | str


def as_record(value: Any) -> Record | str:
    """A decoded JSON value as a record.

    Args:
        value: Any JSON value.

    Returns:
        The value where it is an object; otherwise what is wrong with it.
    """
    return value if isinstance(value, dict) else f"a JSON {type(value).__name__}, not an object"
