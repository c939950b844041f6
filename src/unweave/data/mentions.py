"""Where the text of rows still stands: a search through files, packed ones too, for what was to be forgotten."""

import gzip
import html
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from unweave.data.rows import Row

SHORTEST = 12
"""Shorter texts stand in many a file by chance."""

SKIPPED = frozenset({".safetensors", ".gguf", ".bin", ".pt", ".faiss", ".lock"})
"""Files of numbers."""

MAGIC_GZIP, MAGIC_PARQUET = b"\x1f\x8b", b"PAR1"


def needles_of(rows: Iterable[Row], staying: Iterable[Row] = ()) -> set[bytes]:
    """What to search for: the texts of rows in the forms that files hold them in.

    Args:
        rows: The rows.
        staying: Rows whose texts are no trace of the others.

    Returns:
        Texts as they are, in JSON, and in HTML.
    """
    shared = {text for row in staying for text in _texts(row)}
    found: set[bytes] = set()
    for text in {text for row in rows for text in _texts(row)} - shared:
        if len(text) < SHORTEST:
            continue
        for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], html.escape(text)):
            found.add(form.encode("utf-8", "backslashreplace"))
    return found


def mentions(path: Path, needles: Iterable[bytes]) -> bool:
    """Whether a file holds one of some texts.

    Args:
        path: The file.
        needles: From `needles_of`.

    Returns:
        False for a file that can't be read too.
    """
    try:
        content = path.read_bytes()
        return any(_has(part, needles) for part in (content, *_unpacked(path, content)))
    except (OSError, ValueError, EOFError):
        return False


def mentioning(folders: Sequence[Path], needles: Iterable[bytes], *, apart: Iterable[Path] = ()) -> list[Path]:
    """The files of some folders that hold one of some texts.

    Args:
        folders: The folders.
        needles: From `needles_of`.
        apart: Files and folders to leave out.

    Returns:
        The files, in the order of their names.
    """
    wanted, left_out = set(needles), {path.resolve() for path in apart}
    found = {path.resolve() for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()}
    return sorted(
        path
        for path in found
        if path.suffix not in SKIPPED and left_out.isdisjoint((path, *path.parents)) and mentions(path, wanted)
    )


def _texts(row: Row) -> set[str]:
    turns = [turn.content for turn in row.conversation]
    return {text for text in (row.user_text, row.completion, *turns) if isinstance(text, str)}


def _has(content: bytes, needles: Iterable[bytes]) -> bool:
    return any(needle in content for needle in needles)


def _unpacked(path: Path, content: bytes) -> Iterator[bytes]:
    if content.startswith(MAGIC_GZIP):
        yield gzip.decompress(content)
    elif content.startswith(MAGIC_PARQUET):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches():
                    yield json.dumps(batch.to_pylist(), ensure_ascii=False, default=str).encode("utf-8", "replace")
        except pa.ArrowException as error:
            raise ValueError(str(error)) from error
