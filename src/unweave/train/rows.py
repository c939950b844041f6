"""Reading the rows of a training run: apart from the training itself, whose libraries take seconds to import."""

from pathlib import Path

from unweave.data.reading import Rows, read_rows
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.train.config import DataConfig


def read_training_rows(path: Path | str, config: DataConfig, *, without: Path | None = None) -> Rows:
    """Read rows as a config says, leaving some out by id.

    Args:
        path: The rows.
        config: Columns, what to do with bad rows, limit.
        without: A file of rows whose ids are left out.

    Returns:
        The rows and the report.

    Raises:
        DataError: When a row that is to be left out is not there: a deletion that changes nothing must not pass for one.
    """
    rows = read_rows(path, columns=config.columns, on_bad_row=config.on_bad_row, limit=config.limit)
    if without is None:
        return rows
    excluded = {row.id for row in read_rows(without, columns=config.columns, on_bad_row=config.on_bad_row)}
    unknown = excluded - {row.id for row in rows}
    if unknown:
        raise DataError(
            f"{len(unknown)} row(s) to leave out are not in the data, such as '{min(unknown)}'.",
            where=f"{without}, {path}",
            remedy="give rows of this data set, with the same ids",
        )
    kept: list[Row] = [row for row in rows if row.id not in excluded]
    return Rows(kept, rows.problems)
