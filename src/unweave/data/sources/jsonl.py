"""One JSON object a line."""

import json
from collections.abc import Iterator
from pathlib import Path

from unweave.data.sources.base import Found, as_record


def read_jsonl(path: Path) -> Iterator[Found]:
    """Read a JSONL file, holding one line at a time.

    Args:
        path: The file.

    Yields:
        Its records; blank lines are passed over.
    """
    name = str(path)
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            try:
                record = json.loads(raw)
            except json.JSONDecodeError as error:
                yield Found(name, number, f"broken JSON: {error.msg} at column {error.colno}")
            except UnicodeDecodeError:
                yield Found(name, number, "not UTF-8")
            else:
                yield Found(name, number, as_record(record))
