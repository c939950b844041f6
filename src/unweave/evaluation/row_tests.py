"""What every model of an evaluation is asked: the sets of rows, and what had to be left out of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unweave.data.reading import load_rows
from unweave.data.rows import Row
from unweave.errors import DataError

GIVEN = "forget", "like", "retain"


@dataclass(frozen=True)
class RowTests:
    """The rows that models are measured on, the same for each.

    Attributes:
        sets: `forget`, and where there are any `like` and `retain`.
        notes: What was left out or made, and why, a sentence each.
    """

    sets: dict[str, list[Row]]
    notes: list[str] = field(default_factory=list)


def row_tests(given: Mapping[str, Any]) -> RowTests:
    """Make the tests of an evaluation from rows.

    Args:
        given: `forget`, `like` and `retain`: anything that `load_rows` takes, or `None`.

    Returns:
        The tests. Rows that stand in `forget` too are in no other set.

    Raises:
        DataError: When no row of a set is left.
    """
    sets = {name: load_rows(given[name]).rows for name in GIVEN if given.get(name) is not None}
    forgotten = {_content(row) for row in sets["forget"]}
    notes = []
    for name in GIVEN[1:]:
        if name not in sets:
            continue
        kept = [row for row in sets[name] if _content(row) not in forgotten]
        if not kept:
            raise DataError(
                f"Every row of `{name}` is one of those to forget.",
                where=name,
                remedy="give other rows, or leave it out",
            )
        if gone := len(sets[name]) - len(kept):
            notes.append(f"{gone} row(s) of `{name}`: they are among those to forget")
        sets[name] = kept
    return RowTests(sets, notes)


def _content(row: Row) -> str:
    return json.dumps(row.content, ensure_ascii=False, default=str)
