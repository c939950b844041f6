"""Rows from any source, with stable ids; each broken one reported by file and line."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, Literal, overload

from unweave.data.columns import Recognized
from unweave.data.rows import Row
from unweave.data.sources import Reading, Records
from unweave.errors import DataError

SHOWN_PROBLEMS = 10
LOOKED_AT = 1000
"""Records that a layout is recognised from."""


@dataclass(frozen=True)
class Problem:
    """A row that was not taken as it stands.

    Attributes:
        place: File and line.
        reason: Why.
        action: `dropped`, `cut`, `renamed` (a second row with the same content), or `ignored`: a part that the chat template has no place for.
    """

    place: str
    reason: str
    action: Literal["dropped", "cut", "renamed", "ignored"]


@dataclass(frozen=True)
class Rows(Sequence[Row]):
    """Rows read from one source, with what was left out: a sequence of `Row`. A slice of it has the same report.

    Attributes:
        rows: The rows, in the order of the source.
        problems: What was dropped or changed.
    """

    rows: list[Row]
    problems: list[Problem] = field(default_factory=list)

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns, and keys of messages, that are neither prompt, nor answer, nor id, in the order in which they come."""
        return unused_of(self.rows)

    @property
    def layouts(self) -> dict[str, int]:
        """The layouts that were recognised, and how many rows have each; the most frequent first."""
        return dict(Counter(row.layout for row in self.rows).most_common())

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "Rows": ...

    def __getitem__(self, index: int | slice) -> "Row | Rows":
        return Rows(self.rows[index], self.problems) if isinstance(index, slice) else self.rows[index]


def unused_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """Columns, and keys of messages, that rows have and that are not used.

    Args:
        rows: The rows.

    Returns:
        Each once, in the order in which they come.
    """
    return tuple(dict.fromkeys(name for row in rows for name in row.unused))


def load_rows(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
    split: str | None = None,
    limit: int | None = None,
    subset: str | None = None,
    data_revision: str | None = None,
) -> Rows:
    """Read rows and give each a stable id.

    The layouts of `unweave.data.layouts` are recognised, over many rows and then row by row. Rows without an id get the hash of their content; a
    repeated content gets the suffix `-2`, `-3`, ... in the order of the file, and is listed as renamed.

    Example:
        >>> import unweave as uw
        >>> rows = uw.load_rows([{"prompt": "hello", "completion": "world"}, {"id": "sum", "question": "add 1 and 2", "answer": "3"}])
        >>> len(rows), rows[0].prompt, rows[0].completion, rows[1].id, rows.problems
        (2, 'hello', 'world', 'sum', [])

    Args:
        source: A `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv` or `.parquet` file, plain or with `.gz` or `.zst`; a folder or pattern of such files; a
            folder saved by `datasets`; the id of a data set on the hub (`owner/name`, `owner/name:subset@revision`); `-` for standard input. Or rows in
            memory: a data set of `datasets`, streaming or not, a pandas frame, an Arrow table, dictionaries, rows of `Row`.
        columns: Role to column, where the layout is not a known one.
        on_bad_row: `error` refuses a source with broken rows, naming them; `skip` drops and reports them.
        split: The split of a data set, or of a folder whose files are named after splits; by default `train`.
        limit: Take the first so many rows; of a data set on the hub no more is downloaded than that takes.
        subset: The configuration of a data set on the hub.
        data_revision: Its branch, tag or commit.

    Returns:
        The rows and the report.

    Raises:
        DataError: When the source is missing or unreadable, has no rows, repeats a given id, or has broken rows and
            `on_bad_row` is `error`.
    """
    if isinstance(source, Sequence) and source and isinstance(source[0], Row):
        return _as_they_are(source)[:limit]
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: Counter[str] = Counter()
    records = Records(source, Reading(split, subset, data_revision, few=limit is not None))
    name = records.name
    for found in stream_rows(records, columns=columns):
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
        error = as_error(dropped)
        raise error
    if not rows:
        raise DataError("There are no rows.", where=name, remedy="give a file with at least one row")
    return Rows(rows, problems)


read_rows = load_rows


def _as_they_are(source: Sequence[Row]) -> Rows:
    """Rows that are rows already."""
    repeated = Counter(row.id for row in source).most_common(1)[0]
    if repeated[1] > 1:
        raise DataError(f"The id '{repeated[0]}' stands twice.", remedy="give every row its own id")
    return source if isinstance(source, Rows) else Rows(list(source))


def as_error(dropped: Sequence[Problem]) -> DataError:
    """The error that names rows which can't be used.

    Args:
        dropped: Why each can't.

    Returns:
        The error.
    """
    more = [f"and {len(dropped) - SHOWN_PROBLEMS} more"] if len(dropped) > SHOWN_PROBLEMS else []
    return DataError(
        f"{len(dropped)} row(s) can't be used:",
        lines=[*(f"{problem.place}: {problem.reason}" for problem in dropped[:SHOWN_PROBLEMS]), *more],
        remedy="mend these rows, or pass `on_bad_row` skip to leave them out",
    )


def stream_rows(source: Any, *, columns: Mapping[str, str] | None = None) -> Iterator[Problem | tuple[Row, bool]]:
    """Read rows one after the other, holding none.

    Args:
        source: As in `read_rows`, or its `Records`; `.json` files are read whole.
        columns: Role to column, where the layout is not a known one.

    Yields:
        A row, and whether its id is the data's own; or why there is none. Ids may repeat.
    """
    found = iter(source if isinstance(source, Records) else Records(source))
    # What a column means is not for the first row to say: it may lack what the others have.
    head = list(islice(found, LOOKED_AT))
    records = [(name, record) for name, _, record in head if not isinstance(record, str)]
    recognized = Recognized((record for _, record in records), columns, where=records[0][0]) if records else None
    for name, line, record in chain(head, found):
        if isinstance(record, str):
            yield Problem(f"{name}:{line}", record, "dropped")
            continue
        recognized = recognized or Recognized([record], columns, where=name)
        try:
            row = recognized.row(record, source=name, line=line)
        except ValueError as error:
            yield Problem(f"{name}:{line}", str(error), "dropped")
            continue
        yield row, recognized.has_own_id(record)
