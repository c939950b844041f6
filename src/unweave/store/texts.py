"""The texts of a store's rows, kept beside their sketches for people: `rows.parquet`."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from unweave.data.rows import Row
from unweave.data.turns import Turn
from unweave.errors import StoreError
from unweave.replacing import remove, replacing

FILE = "rows.parquet"


def write_texts(folder: Path, rows: Sequence[Row], contents: Mapping[str, str] | None = None) -> None:
    """Keep the texts of rows, adding to those that are kept already.

    A row that has changed under its id has two texts from then on, until the store is compacted: readers take the one of the sketch that they see.

    Args:
        folder: The store's folder.
        rows: The rows.
        contents: Row id to the digest of what it is, as its commit has it.
    """
    digests = contents or {}
    kept = {_key(text): text for text in read_texts(folder)}
    for row in rows:
        new = text_of(row, digests.get(row.id))
        before = kept.get((row.id, None))
        if before is not None and same_text(before, row):
            del kept[(row.id, None)]
        kept[_key(new)] = new
    _write(folder, list(kept.values()))


def same_text(text: Mapping[str, Any], row: Row) -> bool:
    """Whether a kept text is that of a row.

    Args:
        text: From `read_texts`.
        row: The row.

    Returns:
        True when prompt, answer and earlier turns are the same.
    """
    new = text_of(row, None)
    return all(text.get(name) == new[name] for name in ("prompt", "completion", "turns"))


def merge_texts(source: Path, target: Path) -> None:
    """Add the texts of another store.

    Args:
        source: Its folder.
        target: The folder to add to.
    """
    kept = {_key(text): text for text in (*read_texts(target), *read_texts(source))}
    _write(target, list(kept.values()))


def remove_texts(folder: Path, row_ids: Collection[str], contents: Mapping[str, str | None] | None = None) -> None:
    """Take the texts of rows away, and those that a row had before it changed.

    Args:
        folder: The store's folder.
        row_ids: Their ids.
        contents: Row id to the digest of what its sketch is of, for the rows that stay.
    """
    texts = read_texts(folder)
    kept = [text for text in texts if text["id"] not in row_ids]
    if contents is not None:
        chosen = {row_id: _key(_chosen(own, contents.get(row_id))) for row_id, own in _by_id(kept).items()}
        kept = [text for text in kept if _key(text) == chosen[text["id"]]]
    if len(kept) < len(texts):
        _write(folder, kept)


def _write(folder: Path, texts: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not texts:
        remove(folder / FILE)
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
        remove(folder / FILE)
        return True
    return False


def texts_by_id(folder: Path, contents: Mapping[str, str | None] | None = None) -> dict[str, dict[str, Any]]:
    """The texts of a store by row.

    Args:
        folder: The store's folder.
        contents: From the store's `contents`, asked before the texts are read: of a row with several texts the one that its sketch is of is taken.

    Returns:
        Row id to what `read_texts` gives.

    Raises:
        StoreError: When a row's sketch is of a text that is gone: the store was compacted since it was opened.
    """
    digests = contents or {}
    found = {row_id: _chosen(own, digests.get(row_id)) for row_id, own in _by_id(read_texts(folder)).items()}
    for row_id, text in found.items():
        wanted, own = digests.get(row_id), text.get("content")
        if wanted is not None and own is not None and wanted != own:
            raise StoreError(
                f"The row '{row_id}' has changed while the store was being read.",
                where=str(folder / FILE),
                remedy="run the same command again",
            )
    return found


def _by_id(texts: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for text in texts:
        found.setdefault(text["id"], []).append(text)
    return found


def _chosen(texts: Sequence[dict[str, Any]], content: str | None) -> dict[str, Any]:
    """Of the texts of a row the one with a content; where its sketch does not say which, the oldest."""
    return next((text for text in texts if text.get("content") == content), texts[0])


def _key(text: Mapping[str, Any]) -> tuple[str, str | None]:
    return text["id"], text.get("content")


def stored_rows(texts: Mapping[str, dict[str, Any]], row_ids: Sequence[str], *, where: str) -> list[Row]:
    """Rows of a store as rows again, so that their gradients can be computed anew.

    Args:
        texts: From `texts_by_id`.
        row_ids: Which.
        where: The store, for errors.

    Returns:
        The rows, in the order of `row_ids`.

    Raises:
        StoreError: When the store does not hold the text of one.
    """
    if missing := [row_id for row_id in row_ids if row_id not in texts]:
        raise StoreError(
            f"The store does not hold the text of row '{missing[0]}'.",
            where=where,
            remedy="cache the same rows again",
        )
    return [row_of_text(texts[row_id], where=where) for row_id in row_ids]


def shared_system(texts: Mapping[str, dict[str, Any]], *, where: str) -> str | None:
    """The system text that all rows of a store have, where it is one.

    Args:
        texts: From `texts_by_id`.
        where: The store, for errors.

    Returns:
        The text; `None` where a row has none or another.
    """
    shared = None
    for text in texts.values():
        own = row_of_text(text, where=where).system_text
        if own is None or shared not in (None, own):
            return None
        shared = own
    return shared


def row_of_text(text: dict[str, Any], *, where: str) -> Row:
    """A kept text as the row that it is of.

    Args:
        text: From `read_texts`.
        where: The store, for errors.

    Returns:
        The row.

    Raises:
        StoreError: When the text is broken.
    """
    try:
        more = json.loads(text.get("more") or "{}")
        context = more.get("context", "")
        return Row(
            id=text["id"],
            instruction=text["prompt"].removesuffix(f"\n\n{context}") if context else text["prompt"],
            context=context,
            completion=text["completion"],
            turns=_turns(json.loads(text.get("turns") or "[]")),
            meta=json.loads(text.get("meta") or "{}"),
            source=text["source"],
            line=text["line"],
            clean_completion=more.get("clean_completion"),
            **_more(more),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"The text of row '{text['id']}' can't be read: {error}.",
            where=where,
            remedy="take the file away, and cache the same rows again",
        ) from error


def _turns(stored: list[list[Any]]) -> tuple[Turn, ...]:
    return tuple(Turn(*turn) for turn in stored)


def _more(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "steps": _turns(stored.get("steps", [])),
        "answer": stored.get("answer", {}),
        "tools": tuple(stored.get("tools", ())),
    }


def text_of(row: Row, content: str | None) -> dict[str, Any]:
    """A row as it is kept.

    Args:
        row: The row.
        content: A digest of what its sketch is of.

    Returns:
        What `read_texts` gives of it.
    """
    more = {"steps": [turn.canonical() for turn in row.steps], "answer": dict(row.answer), "tools": row.tools}
    # A row that comes back out of a store is the row that went in; those without such columns are kept as they always were.
    more |= {name: own for name in ("context", "clean_completion") if (own := getattr(row, name))}
    return {
        "id": row.id,
        "content": content,
        "source": row.source,
        "line": row.line,
        "prompt": row.user_text,
        "completion": row.completion,
        "turns": json.dumps([turn.canonical() for turn in row.conversation[: len(row.turns)]], ensure_ascii=False),
        "more": json.dumps(more, ensure_ascii=False),
        "meta": json.dumps(dict(row.meta), ensure_ascii=False, default=str),
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
