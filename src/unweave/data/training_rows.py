"""Reading the rows of a training run: apart from the training itself, whose libraries take seconds to import."""

from pathlib import Path

from unweave.data.config import ReadingConfig, read_configured
from unweave.data.reading import Rows
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.errors import DataError


def read_training_rows(path: Path | str, config: ReadingConfig, *, without: Path | None = None) -> Rows:
    """Read rows as a config says, leaving some out by id.

    Args:
        path: The rows.
        config: Columns, what to do with bad rows, limit.
        without: A file of rows whose ids are left out.

    Returns:
        The rows and the report.

    Raises:
        DataError: When a row that is to be left out is not there: a deletion that changes nothing must not pass for one. Or when
            no row is left.
    """
    rows = read_configured(path, config)
    if without is None:
        return rows
    excluded = {row.id for row in read_beside(without, config)}
    unknown = excluded - {row.id for row in rows}
    if unknown:
        raise DataError(
            f"{len(unknown)} row(s) to leave out are not in the data, such as '{min(unknown)}'.",
            where=f"{without}, {path}",
            remedy="give rows of this data set, with the same ids",
        )
    kept: list[Row] = [row for row in rows if row.id not in excluded]
    if not kept:
        raise DataError(
            f"All rows are left out: of {len(rows)}, none is left to train on.",
            where=f"{without}, {path}",
            remedy="leave out fewer rows, or take more data",
        )
    return Rows(kept, rows.problems)
