"""Rows from JSONL, JSON, CSV, Parquet and Hugging Face data sets; each broken one reported by file and line."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from unweave.data.columns import clean_column, recognise, to_row
from unweave.data.rows import Row
from unweave.errors import DataError, MissingExtraError

SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Problem:
    """A row that was not taken as it stands.

    Attributes:
        place: File and line.
        reason: Why.
        action: `dropped`, `cut`, or `renamed` (a second row with the same content).
    """

    place: str
    reason: str
    action: Literal["dropped", "cut", "renamed"]


@dataclass(frozen=True)
class Rows:
    """Rows read from one source, with what was left out.

    Attributes:
        rows: The rows, in the order of the source.
        problems: What was dropped or changed.
    """

    rows: list[Row]
    problems: list[Problem] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]


def read_rows(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
    split: str = "train",
    limit: int | None = None,
) -> Rows:
    """Read rows and give each a stable id.

    The column layouts of `unweave.data.columns.CONVENTIONS` are recognised. Rows without an id get the hash of their content; a
    repeated content gets the suffix `-2`, `-3`, ... in the order of the file, and is listed as renamed.

    Args:
        source: A `.jsonl`, `.json`, `.csv` or `.parquet` file, a folder saved by `datasets`, or the id of a data set on the hub.
        columns: Role to column, where the layout is not a known one.
        on_bad_row: `error` refuses a source with broken rows, naming them; `skip` drops and reports them.
        split: The split of a Hugging Face data set.
        limit: Take the first so many rows.

    Returns:
        The rows and the report.

    Raises:
        DataError: When the source is missing or unreadable, has no rows, repeats a given id, or has broken rows and
            `on_bad_row` is `error`.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: Counter[str] = Counter()
    name = str(source)
    for found in stream_rows(source, columns=columns, split=split):
        if limit is not None and len(rows) >= limit:
            break
        if isinstance(found, Problem):
            problems.append(found)
            continue
        row, has_own_id = found
        seen[row.id] += 1
        if seen[row.id] > 1:
            if has_own_id:
                raise DataError(f"The id '{row.id}' stands twice.", where=row.place, remedy="give every row its own id")
            problems.append(Problem(row.place, f"repeats the content of row {row.id}", "renamed"))
            row = replace(row, id=f"{row.id}-{seen[row.id]}")
        rows.append(row)
    dropped = [problem for problem in problems if problem.action == "dropped"]
    if dropped and on_bad_row == "error":
        shown = "\n".join(f"  {problem.place}: {problem.reason}" for problem in dropped[:SHOWN_PROBLEMS])
        more = f"\n  and {len(dropped) - SHOWN_PROBLEMS} more" if len(dropped) > SHOWN_PROBLEMS else ""
        raise DataError(
            f"{len(dropped)} row(s) can't be used:\n{shown}{more}",
            remedy="mend these rows, or pass --on-bad-row skip to leave them out",
        )
    if not rows:
        raise DataError("There are no rows.", where=name, remedy="give a file with at least one row")
    return Rows(rows, problems)


def stream_rows(
    source: str | Path, *, columns: Mapping[str, str] | None = None, split: str = "train"
) -> Iterator[Problem | tuple[Row, bool]]:
    """Read rows one after the other, holding none.

    Args:
        source: As in `read_rows`; `.json` files are read whole.
        columns: Role to column, where the layout is not a known one.
        split: The split of a Hugging Face data set.

    Yields:
        A row, and whether its id is the data's own; or why there is none. Ids may repeat.
    """
    roles: dict[str, str] | None = None
    name = str(source)
    for line, record in _records(source, split=split):
        if isinstance(record, str):
            yield Problem(f"{name}:{line}", record, "dropped")
            continue
        if roles is None:
            roles = recognise(set(record), columns, where=name)
        if "clean" not in roles and (clean := clean_column(record.keys() - roles.values())):
            # Of a training set only the poisoned rows may have a clean answer beside theirs, and the first row none.
            roles = {**roles, "clean": clean}
        try:
            row = to_row(record, roles, source=name, line=line)
        except ValueError as error:
            yield Problem(f"{name}:{line}", str(error), "dropped")
            continue
        yield row, record.get(roles["id"]) not in (None, "")


def _records(source: str | Path, *, split: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Pairs of line number and record; in place of a record that can't be decoded, the reason."""
    path = Path(source)
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
    if path.suffix.lower() in readers:
        if not path.is_file():
            raise DataError("Data file not found.", where=str(path), remedy="check the path")
        yield from readers[path.suffix.lower()](path)
    else:
        yield from _dataset(str(source), split)


def _jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            try:
                record = json.loads(raw)
            except json.JSONDecodeError as error:
                yield number, f"broken JSON: {error.msg} at column {error.colno}"
            except UnicodeDecodeError:
                yield number, "not UTF-8"
            else:
                yield number, record if isinstance(record, dict) else f"a JSON {type(record).__name__}, not an object"


def _json(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
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
        yield number, record if isinstance(record, dict) else f"a JSON {type(record).__name__}, not an object"


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            for record in reader:
                extra = record.pop(None, None)  # type: ignore[call-overload]
                yield reader.line_num, f"{len(extra)} more fields than the header" if extra else record
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"The CSV can't be read: {error}.", where=f"{path}:{reader.line_num + 1}", remedy="save it as UTF-8 CSV"
            ) from error


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except pyarrow.ArrowException as error:
        raise DataError(f"The Parquet file can't be read: {error}.", where=str(path), remedy="write it anew") from error


def _dataset(name: str, split: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Rows of a data set saved on disk, or of one on the hub."""
    path = Path(name)
    if path.is_file():
        raise DataError(
            f"Unknown file type '{path.suffix}'.", where=name, remedy="use .jsonl, .json, .csv, .tsv or .parquet"
        )
    is_saved = (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()
    if not is_saved and (path.is_dir() or name.startswith((".", "/")) or name.count("/") != 1):
        raise DataError(
            "Data not found.",
            where=name,
            remedy="give a file, a folder saved by `datasets`, or a hub id such as owner/name",
        )
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", extra="datasets", purpose="Reading a Hugging Face data set") from error
    try:
        data: Any = datasets.load_from_disk(name) if is_saved else datasets.load_dataset(name, split=split)
    except Exception as error:
        raise DataError(
            f"The data set can't be loaded: {error}", where=name, remedy="check the id and the network, or give a file"
        ) from error
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise DataError(
                f"The data set has no split '{split}'.", where=name, remedy=f"it has: {', '.join(map(str, data))}"
            )
        data = data[split]
    yield from enumerate(data, start=1)
