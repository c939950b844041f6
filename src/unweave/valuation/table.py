"""Tables of rows and numbers as files: Parquet, JSON lines or CSV by their suffix."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.files import write_jsonl
from unweave.frames import frame
from unweave.replacing import replacing
from unweave.valuation.config import Baseline, FitConfig, SelectConfig, ValueReportConfig
from unweave.visible import csv_cell, csv_text, one_line

if TYPE_CHECKING:
    import pandas

OWN_COLUMNS = ("id", "line", "loss")
RANDOM = "random"
"""What `value curve` calls rows chosen at random."""

INTERVAL = (".low", ".high")
"""What `value predict` adds to a task's name for the ends of its interval."""


Columns = dict[str, list[float]]


@dataclass(frozen=True)
class ValueTable:
    """Values of rows, a column a task.

    Attributes:
        tasks: Their names.
        row_ids: The rows, in their order.
        columns: Name to one number a row: the tasks' values, then other scores.
        lines: The line of each row in its source, where that is known.
        losses: l(z) of each row in nats a token; empty where none was measured.
        dropped: Rows that left no space for an answer.
    """

    tasks: tuple[str, ...]
    row_ids: list[str]
    columns: Columns
    lines: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.row_ids)

    def __getitem__(self, column: str) -> list[float]:
        return self.columns[column]

    def to_columns(self) -> dict[str, list[Any]]:
        """All of the table, as it stands in files.

        Returns:
            Name to values: `id`, `line`, the tasks, other scores, and `loss`.
        """
        around = {"line": self.lines, **self.columns, "loss": self.losses}
        return {"id": self.row_ids} | {name: own for name, own in around.items() if len(own) == len(self)}

    def to_pandas(self) -> "pandas.DataFrame":
        """The table as a frame of pandas.

        Returns:
            A row a row, indexed by its id.
        """
        return frame(self.to_columns(), index="id")


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
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
            writer.writerow(map(csv_cell, columns))
            for values in zip(*columns.values(), strict=True):
                writer.writerow([csv_cell(value) if isinstance(value, str) else value for value in values])
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
        DataError: When there is none, it can't be read, or it has no column `id`.
    """
    if not path.is_file():
        raise DataError("Table not found.", where=str(path), remedy="make it with `unweave value score`")
    kind = READERS.get(path.suffix, _read_csv)
    try:
        columns = kind(path)
    except (ValueError, LookupError, TypeError, RecursionError, csv.Error) as error:
        # Arrow's errors are ValueErrors, as are those of JSON, of numbers and of text that is not UTF-8.
        reason = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(
            f"The table can't be read: {reason}.", where=str(path), remedy="make it with `unweave value score`"
        ) from error
    if "id" not in columns:
        raise DataError("The table has no column 'id'.", where=str(path), remedy="make it with `unweave value score`")
    for name, values in columns.items():
        kind = str if name == "id" else int | float
        if not all(isinstance(value, kind) for value in values):
            raise DataError(
                f"The column '{name}' holds something else than {'texts' if name == 'id' else 'numbers'}.",
                where=str(path),
                remedy="make the table with `unweave value score`",
            )
    return columns


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pydict()


def _read_jsonl(path: Path) -> dict[str, list[Any]]:
    # Texts may hold other characters that end a line.
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return {name: [record[name] for record in records] for name in records[0]} if records else {}


def _read_csv(path: Path) -> dict[str, list[Any]]:
    with path.open(newline="", encoding="utf-8") as lines:
        records = list(csv.DictReader(lines))
    names = records[0] if records else {}
    return {
        csv_text(name): [csv_text(one[name]) if name == "id" else float(one[name]) for one in records] for name in names
    }


READERS = {".parquet": _read_parquet, ".jsonl": _read_jsonl}


def require_task_names(names: Sequence[str]) -> None:
    """Refuse names that can't be columns of a table of values beside those that it has anyway.

    Args:
        names: The tasks' names.

    Raises:
        ConfigError: When one is taken, stands twice, or can't be read.
    """
    for place, name in enumerate(names):
        ends = [f"{other}{end}" for other in names for end in INTERVAL]
        if name in names[:place]:
            fault = f"Two tasks are named '{name}'."
        elif name in (*OWN_COLUMNS, RANDOM, *ends) or name.partition(".")[0] in get_args(Baseline):
            fault = f"A task can't be named '{name}': a column of the table is."
        elif one_line(name) != name or not name.strip():
            fault = f"A task can't be named '{name}': it holds characters that don't show."
        else:
            continue
        raise ConfigError(fault, where="`tasks`", remedy="give each task another name, as NAME=FILE")


def task_columns(columns: dict[str, list[Any]]) -> list[str]:
    """The tasks of a table of values: its columns of numbers that are no baseline's.

    Args:
        columns: The table.

    Returns:
        Their names, in order.
    """
    return [name for name in columns if name not in OWN_COLUMNS and name.partition(".")[0] not in get_args(Baseline)]


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
