"""The texts of a store's rows, kept beside their sketches for people: `rows.parquet`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unweave.data.rows import Row
from unweave.files import replacing

FILE = "rows.parquet"


def write_texts(folder: Path, rows: Sequence[Row]) -> None:
    """Keep the texts of rows, adding to those that are kept already.

    Args:
        folder: The store's folder.
        rows: The rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = {text["id"]: text for text in read_texts(folder)} | {row.id: _record(row) for row in rows}
    with replacing(folder / FILE) as temporary:
        pq.write_table(pa.Table.from_pylist(list(kept.values())), temporary)


def read_texts(folder: Path) -> list[dict[str, Any]]:
    """The texts that `write_texts` kept.

    Args:
        folder: The store's folder.

    Returns:
        id, source, line, prompt, completion and meta (JSON) of each row.
    """
    import pyarrow.parquet as pq

    path = folder / FILE
    return pq.read_table(path).to_pylist() if path.is_file() else []


def _record(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "source": row.source,
        "line": row.line,
        "prompt": row.user_text,
        "completion": row.completion,
        "meta": json.dumps(dict(row.meta), ensure_ascii=False, default=str),
    }
