"""The rows as the table `rows` of SQL: names and types of its columns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pyarrow as pa

FIELD = "field:"
"""What stands before the name of a column of the data where it is sorted by."""


@dataclass(frozen=True)
class Column:
    """A column of numbers that a row may have.

    Attributes:
        name: As it is sorted by, and stands in SQL.
        title: As it is shown.
        values: A number a row; NaN where there is none.
    """

    name: str
    title: str
    values: Float[np.ndarray, " n"] = field(repr=False)


def sql_columns(numbers: Sequence[Column], fields: Sequence[str]) -> dict[str, str]:
    """Name the columns.

    Args:
        numbers: Columns of numbers.
        fields: Columns of the data; one whose name is taken gets underscores.

    Returns:
        Name in SQL to what it is: the title of a number, or a column of the data behind `FIELD`.
    """
    own = {
        "place": "place in the store, from 0",
        "id": "id",
        "source": "file",
        "line": "line of the file",
        "prompt": "prompt",
        "answer": "answer",
    }
    own |= {column.name: column.title for column in numbers if column.name != "influence"}
    taken = {*own, "influence"}
    for name in fields:
        free = name.lower() or "column"
        while free in taken:
            free = f"{free}_"
        taken.add(free)
        own[free] = f"{FIELD}{name}"
    return own


def arrow_table(
    row_ids: Sequence[str],
    texts: Sequence[Mapping[str, Any]],
    metas: Sequence[Mapping[str, Any]],
    numbers: Mapping[str, Column],
    columns: Mapping[str, str],
) -> "pa.Table":
    """The table, without the influence, which changes.

    Args:
        row_ids: The rows.
        texts: The text of each, as `unweave.store.texts.read_texts` gives it.
        metas: Its columns of the data.
        numbers: Name to column of numbers.
        columns: From `sql_columns`.

    Returns:
        A line a row.
    """
    import pyarrow as pa

    made = {
        "place": pa.array(np.arange(len(row_ids))),
        "id": pa.array(row_ids, pa.string()),
        "source": pa.array([text["source"] for text in texts], pa.string()),
        "line": pa.array([text["line"] for text in texts], pa.int64()),
        "prompt": pa.array([text["prompt"] for text in texts], pa.string()),
        "answer": pa.array([text["completion"] for text in texts], pa.string()),
    }
    for name, what in columns.items():
        if name in numbers:
            made[name] = pa.array(numbers[name].values, from_pandas=True)
        elif what.startswith(FIELD):
            made[name] = _typed([meta.get(what.removeprefix(FIELD)) for meta in metas])
    return pa.table(made)


def _typed(values: Sequence[Any]) -> Any:
    """A column of the data in the type that its values share: numbers, truth values, or else text."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds and kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else as_text(value) for value in values], pa.string())


def as_text(value: Any) -> str:
    """A value of the data as it is shown and filtered by.

    Args:
        value: As JSON holds it.

    Returns:
        A text as it is, anything else as JSON.
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
