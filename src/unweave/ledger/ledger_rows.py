"""The rows that a ledger speaks of: read as they were when it was made, and called and hashed so that who holds the ledger alone can't try out texts."""

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from unweave.data.config import ReadingConfig, read_configured
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.errors import UnweaveError
from unweave.ledger.keys import (
    NAMED,
    Key,
    hidden,
    key_path,
    ledger_name,
    read_key,
    row_hash,
    under_ledger_names,
)
from unweave.ledger.request import Origin, Request


class LedgerRows(ABC):
    """The rows of a ledger, and its key.

    Args:
        folder: The ledger's.
        key_file: Its key's file; by default the one beside the folder.
        without_key: Whether to do without: names and hashes of rows are then not recognised.
    """

    def __init__(self, folder: Path, *, key_file: Path | None, without_key: bool):
        self.folder = folder
        self.key_file = key_file
        self.without_key = without_key
        self._own: dict[str, str] = {}

    @abstractmethod
    def origin(self) -> Origin:
        """What the ledger is about."""

    @cached_property
    def key(self) -> Key | None:
        """Its key; `None` for an old ledger, or where it is to do without."""
        expected = None if self.without_key else self.origin().key
        return None if expected is None else read_key(key_path(self.folder, self.key_file), expected)

    def require_key(self) -> Key | None:
        """Read the key now: that it is missing is better said before any work than in its middle.

        Returns:
            The key, if it is to be used.
        """
        return self.key

    @cached_property
    def is_blind(self) -> bool:
        """Whether it has a key and does without, so that rows can't be recognised by their hashes."""
        return self.without_key and self.origin().key is not None

    def row_hash(self, row: Row) -> str:
        """A hash of a row's content, as the ledger keeps it.

        Args:
            row: The row, under the id that the ledger calls it by.

        Returns:
            32 hexadecimal digits.
        """
        return row_hash(row, self.key)

    def hidden(self, digest: str, *, purpose: str) -> str:
        """A digest of something that holds rows, as the ledger may keep it.

        Args:
            digest: The plain one.
            purpose: What it is of: `rows`, `file`, `inputs`.

        Returns:
            32 hexadecimal digits.
        """
        return hidden(digest, self.key, purpose=purpose)

    def hidden_content(self, content: Any) -> Any:
        """Digests of files that may hold rows, as the ledger may keep them.

        Args:
            content: The plain ones, as JSON holds them.

        Returns:
            A digest of all together; without a key what was given.
        """
        return content if self.key is None else self.hidden(json.dumps(content, sort_keys=True), purpose="file")

    def name_of(self, row_id: str) -> str:
        """What the ledger calls a row.

        Args:
            row_id: The row's id, as data and store have it.

        Returns:
            The id, or another name where the id is a hash of the content.
        """
        return ledger_name(row_id, self.key)

    def named(self, rows: Sequence[Row]) -> list[Row]:
        """Rows as the ledger calls them.

        Args:
            rows: The rows.

        Returns:
            The rows, in their order.
        """
        named = under_ledger_names(rows, self.key)
        self._own |= {new.id: old.id for old, new in zip(rows, named, strict=True) if new is not old}
        return named

    def own_ids(self, names: Iterable[str]) -> list[str]:
        """The ids of rows as the data has them, where these can be recognised.

        Args:
            names: What the ledger calls them.

        Returns:
            Ids, sorted; of rows that have left the data, or without the key, the names.
        """
        if any(name.startswith(NAMED) for name in names):
            with contextlib.suppress(UnweaveError):
                self.rows()
        return sorted(map(self.own_id, names))

    def own_id(self, name: str) -> str:
        """The id of a row that was read.

        Args:
            name: What the ledger calls it.

        Returns:
            What its file does.
        """
        return self._own.get(name, name)

    def rows(self) -> list[Row]:
        """The training rows.

        Returns:
            The rows as the data file has them now, as the ledger calls them.
        """
        return self.named(read_configured(self.origin().data, self.reading()).rows)

    def reading(self) -> ReadingConfig:
        """The options that the data is read with.

        Returns:
            As they were given when the ledger was made.
        """
        return ReadingConfig(**(self.origin().reading or {}))

    def new_rows(self, request: Request) -> list[Row]:
        """The rows that a request puts in the place of others.

        Args:
            request: The request.

        Returns:
            The rows as their file has them now, as the ledger calls them; none for a removal.
        """
        if request.replacement is None:
            return []
        reading = ReadingConfig(**(request.reading or {}))
        return self.named(read_beside(request.replacement, reading, self.reading()).rows)
