"""A request before it is added: its rows found, and everything checked, with nothing written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unweave.arguments import quoted
from unweave.config import part_of
from unweave.data.config import ReadingConfig, read_configured
from unweave.data.copies import Copy, find_copies
from unweave.data.remembered import read_beside, remembered_columns, with_remembered
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.ledger.config import AddConfig
from unweave.ledger.found import FoundRow, Match, Selection
from unweave.ledger.keys import key_path
from unweave.ledger.ledger import FILE, Ledger
from unweave.ledger.request import Origin
from unweave.ledger.selection import require_meant, select_rows
from unweave.names import require_name

NEAR_COPY = 0.8


@dataclass(frozen=True)
class Prepared:
    """A request that is about to be added: everything is checked, and nothing written.

    Attributes:
        config: What was asked for.
        rows: All rows of the data.
        reading: The options that they were read with.
        selection: The rows of the request, and what matched.
        copies: Copies of them that are not in it.
        new: What replaces them.
        request_id: The name that it was given, if any.
        is_first: Whether the ledger is to be made.
    """

    config: AddConfig
    rows: Sequence[Row]
    reading: ReadingConfig
    selection: Selection
    copies: list[Copy]
    new: list[Row]
    request_id: str | None
    is_first: bool

    def shown(self) -> dict[str, Any]:
        """What would be added, with each row and what matched, as JSON holds it."""
        return {
            "id": self.request_id,
            "added": False,
            "kind": self.config.kind,
            "rows": sorted(row.id for row in self.selection.rows),
            "copies": [copy.__dict__ for copy in self.copies],
            "preview": self.selection.to_json(),
        }


def prepare_request(config: AddConfig) -> Prepared:
    """Find the rows of a request and check it, without writing anything.

    Args:
        config: Rows, kind, reason.

    Returns:
        What would be added.

    Raises:
        ConfigError: When a new ledger is given no data or model, or a ledger's are to be changed.
        DataError: When a row is unknown, nothing matches, or a replacement does not fit.
    """
    given = None
    if config.request_id is not None:
        given = require_name(config.request_id, what="The request's id", where="`request_id`")
    there = (config.ledger / FILE).is_file() and bool(Ledger(config.ledger).journal.events())
    if there:
        present = Ledger(config.ledger)
        _require_same(config, present.origin())
        reading, data = present.reading(), present.origin().data
    elif config.data is None or config.model is None:
        raise ConfigError("A new ledger needs data and a model.", where="`data`, `model`", remedy="give both")
    else:
        key_path(config.ledger, config.key)
        reading, data = _reading(config), config.data
    rows = read_configured(data, reading).rows
    selection = select_rows(rows, config, reading=reading)
    copies = find_copies(selection.rows, rows, similarity=NEAR_COPY)
    if config.with_copies and copies:
        selection, copies = _with_copies(selection, copies, rows), []
    require_meant(selection.rows, rows, config)
    new = _replacement(config, selection.rows, reading)
    return Prepared(config, rows, reading, selection, copies, new, given, is_first=not there)


def _with_copies(selection: Selection, copies: Sequence[Copy], rows: Sequence[Row]) -> Selection:
    """The same rows and their copies, in the order of the data."""
    found = {one.row.id: one for one in selection.found}
    alike = {copy.row_id: copy.similarity for copy in copies}
    for row in rows:
        if row.id in alike:
            found[row.id] = FoundRow(row, (Match("copy", similarity=alike[row.id]),))
    left = [one for one in selection.doubtful if one.row.id not in found]
    return replace(selection, found=[found[row.id] for row in rows if row.id in found], doubtful=left)


def _reading(config: AddConfig) -> ReadingConfig:
    """The options that a new ledger's data is read with; the columns may be those that the store remembers."""
    remembered = remembered_columns(config.store) if config.store else []
    return with_remembered(config.data, part_of(ReadingConfig, config), remembered)


def _require_same(config: AddConfig, origin: Origin) -> None:
    """A ledger is about one data set and one model."""
    given = {"data": config.data, "model": config.model, "store": config.store}
    for name, value in given.items():
        own = getattr(origin, name)
        if value is None or str(value) == own or (own is not None and str(Path(value).resolve()) == own):
            continue
        raise ConfigError(
            f"The ledger is about {name} '{own}', not '{value}'.",
            where=quoted(name),
            remedy="leave it out, or use another ledger",
        )


def _replacement(config: AddConfig, chosen: Sequence[Row], reading: ReadingConfig) -> list[Row]:
    """The new rows."""
    if (config.replacement is None) != (config.kind == "removal"):
        raise ConfigError(
            f"A {config.kind} {'takes no' if config.kind == 'removal' else 'needs'} new rows.",
            where="`replacement`",
            remedy="leave it out" if config.kind == "removal" else "give a file of rows with the same ids",
        )
    if config.replacement is None:
        return []
    new = {row.id: row for row in read_beside(config.replacement, config, reading)}
    if set(new) != {row.id for row in chosen}:
        odd = min(set(new) ^ {row.id for row in chosen})
        raise DataError(
            f"The new rows are not those of the request: '{odd}' is in one of the two only.",
            where=str(config.replacement),
            remedy="give a new row for each row of the request, with the same id",
        )
    for row in chosen:
        if config.kind == "correction" and new[row.id].conversation[:-1] != row.conversation[:-1]:
            raise DataError(
                f"A correction changes the answer, not the prompt, of '{row.id}'.",
                where=new[row.id].place,
                remedy="use `kind` modification",
            )
        if new[row.id].content == row.content:
            raise DataError(f"The new row '{row.id}' is the old one.", where=new[row.id].place, remedy="change it")
    return list(new.values())
