"""DATE-LM's files of a task: `train.jsonl` and `ref.jsonl`, with `prompt`, `response` and what the task needs."""

from dataclasses import replace
from pathlib import Path

from unweave.data.reading import read_rows
from unweave.data.rows import Row
from unweave.errors import DataError

COLUMNS = {"instruction": "prompt", "completion": "response"}


def read_date_lm(folder: Path, needed: tuple[str, ...]) -> tuple[list[Row], list[Row]]:
    """Read a task.

    Args:
        folder: Where its files are.
        needed: Columns that each training row needs beside prompt and response.

    Returns:
        Training rows and reference rows.

    Raises:
        DataError: When a file is missing, or a column.
    """
    found = []
    for name in ("train", "ref"):
        rows = list(read_rows(folder / f"{name}.jsonl", columns=COLUMNS).rows)
        if name == "train" and (missing := [key for key in needed if any(key not in row.meta for row in rows)]):
            raise DataError(
                f"Rows of the file lack `{missing[0]}`.",
                where=str(folder / f"{name}.jsonl"),
                remedy=f"give DATE-LM's file, with {', '.join(needed)}",
            )
        # One text may stand in the file twice, and ids are made of texts where there are none.
        found.append([replace(row, id=f"{name}:{place}") for place, row in enumerate(rows)])
    return found[0], found[1]
