"""Which reader reads which source."""

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.data.sources.base import Found, Reading, Record
from unweave.data.sources.folder import matching, shards
from unweave.data.sources.hub import is_saved, read_hub, read_saved
from unweave.data.sources.json_text import read_json, read_jsonl
from unweave.data.sources.memory import read_objects
from unweave.data.sources.opening import STANDARD_INPUT, STANDARD_INPUTS, Input, format_of, is_stream
from unweave.data.sources.parquet import read_parquet
from unweave.data.sources.table import read_table
from unweave.errors import DataError

READERS: dict[str, Callable[[Input], Iterator[Found]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": read_parquet,
}
"""End of a file's name to reader; each may be followed by `.gz` or `.zst`."""

OPTIONS = ("split", "subset", "data_revision")
"""What chooses a part of a data set; a file has no parts."""


@dataclass(frozen=True)
class Prepared:
    """A source whose records are changed before anything is made of them.

    Attributes:
        source: The source.
        change: Makes another record of one.
    """

    source: Any
    change: Callable[[Record], Record]


class Records:
    """The records of a source. It can be gone through any number of times; each time reads the source anew and holds little of it.

    Args:
        source: A file, a folder or pattern of files, a folder saved by `datasets`, the id of a data set on the hub, `-` for standard input; or rows
            in memory: a data set, a frame, a list of dictionaries. Any of them `Prepared`.
        reading: Which part of it.
    """

    def __init__(self, source: Any, reading: Reading | None = None):
        self.change = source.change if isinstance(source, Prepared) else None
        source = source.source if isinstance(source, Prepared) else source
        self.source = list(source) if isinstance(source, Iterator) else source
        self.reading = reading or Reading()

    @property
    def name(self) -> str:
        """The source as messages call it."""
        return str(self.source) if isinstance(self.source, str | Path) else type(self.source).__name__

    def __iter__(self) -> Iterator[Found]:
        if self.change is None:
            return self._found()
        return (
            found if isinstance(found.record, str) else found._replace(record=self.change(found.record))
            for found in self._found()
        )

    def _found(self) -> Iterator[Found]:
        if not isinstance(self.source, str | Path):
            return read_objects(self.source, self.reading)
        name, path = str(self.source), Path(self.source)
        if name in STANDARD_INPUTS:
            self.reading.say_idle(name, *OPTIONS)
            return _read_stream(Input(Path(STANDARD_INPUT)))
        try:
            if path.is_dir():
                if is_saved(path):
                    return read_saved(path, self.reading)
                self.reading.say_idle(name, "subset", "data_revision")
                return self._files(shards(path, self.reading.split, formats=READERS))
            if path.exists():
                self.reading.say_idle(name, *OPTIONS)
                return _read_stream(Input(path)) if is_stream(path) else _read_file(path)
        except OSError as error:
            raise DataError(
                f"The data can't be read: {error.strerror}.",
                where=name,
                remedy="check the path, and that you may read it",
            ) from error
        if glob.has_magic(name):
            self.reading.say_idle(name, *OPTIONS)
            return self._files(matching(name, formats=READERS))
        if format_of(path) in READERS or name.startswith((".", "/", "~")):
            raise DataError("Data file not found.", where=name, remedy="check the path")
        return read_hub(name, self.reading)

    def _files(self, files: Sequence[Path]) -> Iterator[Found]:
        for file in files:
            yield from _read_file(file)


def _read_file(path: Path) -> Iterator[Found]:
    file = Input(path)
    if file.kind not in READERS:
        raise DataError(
            f"Unknown file type '{path.suffix}'.",
            where=str(path),
            remedy=f"use {', '.join(READERS)}, as it is or with .gz or .zst",
        )
    return READERS[file.kind](file)


def _read_stream(file: Input) -> Iterator[Found]:
    """Read what has no name, or a name that says nothing: its first letter tells Parquet, JSON and tables apart."""
    if file.kind in READERS:
        return READERS[file.kind](file)
    with file.open() as stream:
        start = stream.peek(64)
    if start.startswith(b"PAR1"):
        return read_parquet(file)
    text = start.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")
    return read_json(file) if text[:1] in (b"{", b"[", b"") else read_table(file)
