"""Tables of rows and numbers as files: Parquet, JSON lines or CSV by their suffix."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unweave.errors import ConfigError
from unweave.files import replacing, write_jsonl


def write_table(path: Path, columns: dict[str, Sequence[Any]]) -> None:
    """Write a table, all of it or nothing.

    Args:
        path: The file.
        columns: Name to values, all of one length.

    Raises:
        ConfigError: For another suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        with replacing(path) as temporary:
            pq.write_table(pa.table(dict(columns)), temporary)
    elif path.suffix == ".jsonl":
        write_jsonl(path, [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)])
    elif path.suffix == ".csv":
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    else:
        raise ConfigError(
            f"'{path.suffix}' is no kind of table.", where=str(path), remedy="use .parquet, .jsonl or .csv"
        )
