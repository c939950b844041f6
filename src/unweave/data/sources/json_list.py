"""A JSON file with a list of objects."""

import json
from collections.abc import Iterator
from pathlib import Path

from unweave.data.sources.base import Found, as_record
from unweave.errors import DataError


def read_json_list(path: Path) -> Iterator[Found]:
    """Read a JSON file whole.

    Args:
        path: The file.

    Yields:
        Its records; the line of a record is its position in the list.

    Raises:
        DataError: When the file is no JSON, or no list.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"The file is not valid JSON: {error}.",
            where=str(path),
            remedy="mend it, or use one object a line (.jsonl)",
        ) from error
    if not isinstance(records, list):
        raise DataError(
            "The JSON file holds no list of rows.", where=str(path), remedy="use a list of objects, or .jsonl"
        )
    for number, record in enumerate(records, start=1):
        yield Found(str(path), number, as_record(record))
