"""CSV and TSV."""

import csv
from collections.abc import Iterator
from pathlib import Path

from unweave.data.sources.base import Found
from unweave.errors import DataError


def read_table(path: Path) -> Iterator[Found]:
    """Read a CSV file, or a TSV file, by its header.

    Args:
        path: The file.

    Yields:
        Its records; the line of a record is the last one that it takes.

    Raises:
        DataError: When the file can't be decoded.
    """
    name = str(path)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            for record in reader:
                extra = record.pop(None, None)  # type: ignore[call-overload]
                yield Found(name, reader.line_num, f"{len(extra)} more fields than the header" if extra else record)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"The CSV can't be read: {error}.", where=f"{path}:{reader.line_num + 1}", remedy="save it as UTF-8 CSV"
            ) from error
