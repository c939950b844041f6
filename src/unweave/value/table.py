"""Tables of rows and numbers as files: Parquet, JSON lines or CSV by their suffix."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.files import replacing, write_jsonl
from unweave.train.rows import read_training_rows
from unweave.value.config import Baseline, FitConfig, SelectConfig, ValueReportConfig


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


def read_table(path: Path) -> dict[str, list[Any]]:
    """Read a table that `write_table` wrote.

    Args:
        path: The file.

    Returns:
        Name to values.

    Raises:
        DataError: When there is none, or it has no column `id`.
    """
    if not path.is_file():
        raise DataError("Table not found.", where=str(path), remedy="make it with `unweave value score`")
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        columns = pq.read_table(path).to_pydict()
    elif path.suffix == ".jsonl":
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        columns = {name: [record[name] for record in records] for name in records[0]} if records else {}
    else:
        with path.open(newline="", encoding="utf-8") as lines:
            records = list(csv.DictReader(lines))
        columns = (
            {name: [one[name] if name == "id" else float(one[name]) for one in records] for name in records[0]}
            if records
            else {}
        )
    if "id" not in columns:
        raise DataError("The table has no column 'id'.", where=str(path), remedy="make it with `unweave value score`")
    return columns


def task_columns(columns: dict[str, list[Any]]) -> list[str]:
    """The tasks of a table of values: its columns of numbers that are no baseline's.

    Args:
        columns: The table.

    Returns:
        Their names, in order.
    """
    return [
        name
        for name in columns
        if name not in ("id", "line", "loss") and name.partition(".")[0] not in get_args(Baseline)
    ]


def valued_rows(
    row_ids: Iterable[str], values: Path, config: FitConfig | SelectConfig | ValueReportConfig
) -> dict[str, Row]:
    """The rows that a table values.

    Args:
        row_ids: Those that are needed.
        values: The table's file, for messages.
        config: Where the rows are.

    Returns:
        Id to row, of all of the data.

    Raises:
        DataError: When one is not in the data.
    """
    rows = {row.id: row for row in read_training_rows(config.data, config)}
    if missing := sorted(set(row_ids) - set(rows)):
        raise DataError(
            f"The row '{missing[0]}' of the table is not in the data.",
            where=f"{values}, {config.data}",
            remedy="give the rows that were valued",
        )
    return rows
