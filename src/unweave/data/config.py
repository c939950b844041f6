"""How rows are read and become tokens: the options of every command that reads rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unweave import progress
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import Problem, Rows, read_rows, stream_rows
from unweave.data.rows import Row
from unweave.data.sources import Reading, Records
from unweave.errors import DataError, UnweaveError


@dataclass(frozen=True, kw_only=True)
class ReadingConfig:
    """How rows are read.

    Attributes:
        columns: Role to column, where the layout of the file is not a known one. Roles: instruction, context, completion, clean,
            messages, text, id, system, history, tools.
        split: The split of a data set, or of a folder whose files are named after splits; by default `train`.
        subset: The configuration of a data set on the hub.
        data_revision: Its branch, tag or commit.
        on_bad_row: `error` stops at broken rows, naming them; `skip` leaves them out and reports them.
        limit: Take only the first so many rows of a file.
    """

    columns: dict[str, str] | None = None
    split: str | None = None
    subset: str | None = None
    data_revision: str | None = None
    on_bad_row: Literal["error", "skip"] = "error"
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig(ReadingConfig, EncodingConfig):
    """Where rows come from, and how they become tokens."""


AS_WRITTEN: dict[str, Any] = dict(ReadingConfig().__dict__)
"""The options for rows that unweave wrote itself: whatever the original's columns are called, these are its own."""


def read_configured(source: Any, config: ReadingConfig, *, whole: bool = False, say: bool = True) -> Rows:
    """Read rows as a config says, and say which of their columns are not used.

    Args:
        source: The rows.
        config: The options.
        whole: Leave the limit out: these are not the rows that it is about.
        say: Whether to say that; whoever shows it itself need not.

    Returns:
        The rows and the report.
    """
    rows = read_rows(
        source,
        columns=config.columns,
        on_bad_row=config.on_bad_row,
        split=config.split,
        limit=None if whole else config.limit,
        subset=config.subset,
        data_revision=config.data_revision,
    )
    if say:
        _say_unused(source, rows.unused)
    return rows


def _say_unused(source: Any, unused: Iterable[str]) -> None:
    """A line for a source that is read, however often; a name may hold anything, so control characters are written out."""
    if names := ", ".join(name if name.isprintable() else ascii(name) for name in unused):
        progress.say_once(f"{Records(source).name}: not used: {names}")


def read_own(path: Path) -> Rows:
    """Read rows that unweave wrote, or that have a fixed layout: no option changes how.

    Args:
        path: The file.

    Returns:
        The rows and the report.

    Raises:
        DataError: When the file is not as it was written.
    """
    try:
        return read_rows(path)
    except UnweaveError as error:
        raise DataError(
            error.what,
            lines=error.lines,
            where=error.where or str(path),
            remedy="restore this file as it was written, or make it anew",
        ) from error


def stream_configured(source: Any, config: ReadingConfig) -> Iterator[Problem | tuple[Row, bool]]:
    """Read rows one after the other as a config says, holding none; at the end, tell which of their columns are not used.

    Args:
        source: The rows.
        config: The options.

    Yields:
        A row, and whether its id is the data's own; or why there is none.

    Raises:
        DataError: At the first broken row, where the config does not skip them.
    """
    reading = Reading(config.split, config.subset, config.data_revision, few=config.limit is not None)
    rows = 0
    unused: dict[str, None] = {}
    for found in stream_rows(Records(source, reading), columns=config.columns):
        if config.limit is not None and rows >= config.limit:
            break
        if isinstance(found, Problem) and config.on_bad_row == "error":
            raise DataError(
                f"A row can't be used: {found.reason}.",
                where=found.place,
                remedy="mend it, or pass `on_bad_row` skip to leave such rows out",
            )
        if not isinstance(found, Problem):
            rows += 1
            unused |= dict.fromkeys(found[0].unused)
        yield found
    _say_unused(source, unused)
