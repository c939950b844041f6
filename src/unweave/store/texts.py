"""The texts of a store's rows, kept beside their sketches for people: `rows.parquet`."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from unweave.data.rows import Row, Turn
from unweave.errors import StoreError
from unweave.files import replacing

FILE = "rows.parquet"


def write_texts(folder: Path, rows: Sequence[Row]) -> None:
    """Keep the texts of rows, adding to those that are kept already.

    Args:
        folder: The store's folder.
        rows: The rows.
    """
    kept = texts_by_id(folder) | {row.id: _record(row) for row in rows}
    _write(folder, list(kept.values()))


def merge_texts(source: Path, target: Path) -> None:
    """Add the texts of another store.

    Args:
        source: Its folder.
        target: The folder to add to.
    """
    kept = texts_by_id(target) | texts_by_id(source)
    _write(target, list(kept.values()))


def remove_texts(folder: Path, row_ids: Collection[str]) -> None:
    """Take the texts of rows away.

    Args:
        folder: The store's folder.
        row_ids: Their ids.
    """
    if row_ids and (texts := read_texts(folder)):
        _write(folder, [text for text in texts if text["id"] not in row_ids])


def _write(folder: Path, texts: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not texts:
        (folder / FILE).unlink(missing_ok=True)
        return
    # What an earlier version wrote lacks columns, and a table takes its columns from the first row.
    columns = {column: None for text in texts for column in text}
    with replacing(folder / FILE) as temporary:
        pq.write_table(pa.Table.from_pylist([{**columns, **text} for text in texts]), temporary)


def read_texts(folder: Path) -> list[dict[str, Any]]:
    """The texts that `write_texts` kept.

    Args:
        folder: The store's folder.

    Returns:
        id, source, line, prompt, completion and meta (JSON) of each row.

    Raises:
        StoreError: When the file is there and can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / FILE
    if not path.is_file():
        return []
    try:
        texts = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(
            f"The texts of the store's rows can't be read: {_first_line(error)}",
            where=str(path),
            remedy="run `unweave store repair`, and cache the same rows again",
        ) from error
    if any(not isinstance(text.get(name), str) for text in texts for name in ("id", "prompt", "completion")):
        raise StoreError(
            "The texts of the store's rows lack an id, a prompt or a completion.",
            where=str(path),
            remedy="run `unweave store repair`, and cache the same rows again",
        )
    return texts


def repair_texts(folder: Path) -> bool:
    """Take away a file of texts that can't be read, so that the next caching of the same rows writes it anew.

    Args:
        folder: The store's folder.

    Returns:
        Whether it was broken.
    """
    try:
        read_texts(folder)
    except StoreError:
        (folder / FILE).unlink()
        return True
    return False


def texts_by_id(folder: Path) -> dict[str, dict[str, Any]]:
    """The texts of a store by row.

    Args:
        folder: The store's folder.

    Returns:
        Row id to what `read_texts` gives.
    """
    return {text["id"]: text for text in read_texts(folder)}


def stored_rows(texts: Mapping[str, dict[str, Any]], row_ids: Sequence[str], *, folder: Path) -> list[Row]:
    """Rows of a store as rows again, so that their gradients can be computed anew.

    Args:
        texts: From `texts_by_id`.
        row_ids: Which.
        folder: The store's folder, for errors.

    Returns:
        The rows, in the order of `row_ids`.

    Raises:
        StoreError: When the store does not hold the text of one.
    """
    if missing := [row_id for row_id in row_ids if row_id not in texts]:
        raise StoreError(
            f"The store does not hold the text of row '{missing[0]}'.",
            where=str(folder / FILE),
            remedy="cache the same rows again",
        )
    return [
        Row(
            id=row_id,
            instruction=texts[row_id]["prompt"],
            completion=texts[row_id]["completion"],
            turns=_turns(json.loads(texts[row_id].get("turns") or "[]")),
            source=texts[row_id]["source"],
            line=texts[row_id]["line"],
            **_more(json.loads(texts[row_id].get("more") or "{}")),
        )
        for row_id in row_ids
    ]


def _turns(stored: list[list[Any]]) -> tuple[Turn, ...]:
    return tuple(Turn(*turn) for turn in stored)


def _more(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "steps": _turns(stored.get("steps", [])),
        "answer": stored.get("answer", {}),
        "tools": tuple(stored.get("tools", ())),
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _record(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "source": row.source,
        "line": row.line,
        "prompt": row.user_text,
        "completion": row.completion,
        "turns": json.dumps([turn.canonical() for turn in row.conversation[: len(row.turns)]], ensure_ascii=False),
        "more": json.dumps(
            {"steps": [turn.canonical() for turn in row.steps], "answer": dict(row.answer), "tools": row.tools},
            ensure_ascii=False,
        ),
        "meta": json.dumps(dict(row.meta), ensure_ascii=False, default=str),
    }
