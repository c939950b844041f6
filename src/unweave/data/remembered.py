"""Columns that were named once, for data that a store or a ledger is about, and serve again for files in the same layout."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from unweave.data.config import ReadingConfig, read_configured
from unweave.data.reading import Rows
from unweave.data.sources import Reading, Records
from unweave.files import read_json, write_json

FILE = "columns.json"
LOOKED_AT = 100
MAY_LACK = ("context", "clean", "id")
"""Roles whose columns a file may lack."""

Columns = Mapping[str, str]


def remember_columns(folder: Path, columns: Columns | None) -> None:
    """Note beside a store how the columns of its rows were named.

    Args:
        folder: The store's folder.
        columns: Role to column; `None` where the layout was recognised, and nothing need be noted.
    """
    earlier = remembered_columns(folder)
    if columns and dict(columns) not in earlier:
        # The newest is tried first.
        write_json(folder / FILE, [dict(columns), *earlier])


def remembered_columns(folder: Path) -> list[dict[str, str]]:
    """What `remember_columns` noted.

    Args:
        folder: The store's folder.

    Returns:
        Mappings, the newest first; none for a store of rows in a known layout.
    """
    path = folder / FILE
    return read_json(path, what="The store's columns") if path.is_file() else []


def read_remembering(source: Any, config: ReadingConfig, remembered: Sequence[Columns], *, whole: bool = False) -> Rows:
    """Read rows as a config says, or, where it names no columns, by the first remembered ones that the file has.

    Args:
        source: The rows.
        config: The options.
        remembered: Role to column, of other files.
        whole: Leave the limit out.

    Returns:
        The rows and the report.
    """
    return read_configured(source, with_remembered(source, config, remembered), whole=whole)


def with_remembered(source: Any, config: ReadingConfig, remembered: Sequence[Columns]) -> ReadingConfig:
    """The options that a source is read with.

    Args:
        source: The rows.
        config: The options as given.
        remembered: Role to column, of other files.

    Returns:
        The options as given, or with the first remembered columns that the source has, where none are given.
    """
    if config.columns is not None or not remembered:
        return config
    return replace(config, columns=_fitting(source, config, remembered))


def read_beside(source: Any, *configs: ReadingConfig) -> Rows:
    """Read a file of rows that belong to other data: in the data's own layout, or in a known one.

    Args:
        source: The rows.
        *configs: How the data is read; the first has the options for bad rows.

    Returns:
        The rows, however many, and the report.
    """
    return read_remembering(source, replace(configs[0], columns=None), mappings(*configs), whole=True)


def mappings(*configs: ReadingConfig) -> list[Columns]:
    """The columns that some configs name.

    Args:
        *configs: The configs.

    Returns:
        Role to column, of those that name any.
    """
    return [config.columns for config in configs if config.columns]


def _fitting(source: Any, config: ReadingConfig, remembered: Sequence[Columns]) -> dict[str, str] | None:
    records = Records(source, Reading(config.split, config.subset, config.data_revision, few=True))
    seen = {name for found in islice(records, LOOKED_AT) if not isinstance(found.record, str) for name in found.record}
    for columns in remembered:
        own = {role: column for role, column in columns.items() if column in seen}
        if own and all(role in own or role in MAY_LACK for role in columns):
            return own
    return None
