"""The review list: rows that somebody has ticked, to be looked at together and perhaps forgotten. It outlives the server."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from unweave.files import read_record_if_any, write_json


class Reviewed:
    """The rows on the review list, kept in a file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()

    def why(self) -> dict[str, str]:
        """The rows, in the order in which they were ticked, each with why."""
        record = read_record_if_any(self._path, what="The review list")
        return dict(record["rows"]) if record else {}

    def ids(self) -> list[str]:
        """The rows, in the order in which they were ticked."""
        return list(self.why())

    def add(self, rows: Mapping[str, str]) -> int:
        """Put rows on the list; those that are on it keep their reason.

        Args:
            rows: Row id to why.

        Returns:
            How many rows are on it then.
        """
        with self._lock:
            kept = self.why()
            return self._write(kept | {row: why for row, why in rows.items() if row not in kept})

    def remove(self, row_ids: Sequence[str]) -> int:
        """Take rows off the list.

        Args:
            row_ids: Their ids; those that are not on it count for nothing.

        Returns:
            How many rows are on it then.
        """
        gone = set(row_ids)
        with self._lock:
            return self._write({row: why for row, why in self.why().items() if row not in gone})

    def _write(self, rows: dict[str, str]) -> int:
        write_json(self._path, {"rows": rows})
        return len(rows)
