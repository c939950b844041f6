"""CSV and TSV."""

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence

from unweave.data.sources.base import Found, Record
from unweave.data.sources.json_text import decoded_lines
from unweave.data.sources.opening import Input
from unweave.errors import DataError

FIELD_SIZE = 2**31 - 1
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def read_table(file: Input) -> Iterator[Found]:
    """Read a CSV or TSV file by its header. An empty cell is a missing value: CSV has no other.

    Args:
        file: The file; a `.csv` whose header has semicolons or tabs and no commas is cut at these.

    Yields:
        Its records, each with the line that it begins on.

    Raises:
        DataError: When the header can't be used.
    """
    # The limit is that of the whole process; the library's own would refuse texts of more than 131,072 characters.
    csv.field_size_limit(FIELD_SIZE)
    with file.open() as stream:
        lines = _Lines(file, stream)
        first = next(lines, "")
        reader = csv.reader(itertools.chain([first], lines), delimiter=_delimiter(file, first))
        names: list[str] | None = None
        line = 0
        while True:
            start, file.line = line + 1, line
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise DataError(f"The CSV can't be read: {error}.", where=file.place, remedy="mend the line") from error
            line = reader.line_num
            if cells is None:
                return
            if not cells:
                continue
            if lines.ended:
                taken = f"; {line - start} more lines stand inside it" if line > start else ""
                yield Found(file.name, start, f"a quotation mark is opened and never closed{taken}")
            elif names is None:
                names = _header(file, start, cells)
            else:
                yield Found(file.name, start, _record(names, cells))


class _Lines:
    """The lines of a table, as text; `ended` once another one was asked for than there is: a cell was still open then."""

    def __init__(self, file: Input, stream: io.BufferedReader):
        self._lines = _split(_decoded(file, stream))
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self._lines)
        except StopIteration:
            self.ended = True
            raise


def _decoded(file: Input, stream: io.BufferedReader) -> Iterator[str]:
    encoding = json.detect_encoding(stream.peek(4)[:4])
    if not encoding.startswith("utf-8"):
        yield from decoded_lines(file, stream, encoding)
        return
    for number, line in enumerate(stream):
        # Bytes that are not UTF-8 are carried on, so that the row that has them can be named.
        yield line.decode("utf-8" if number else "utf-8-sig", "surrogateescape")


def _split(lines: Iterator[str]) -> Iterator[str]:
    """Lines that end with a carriage return alone are lines too."""
    for line in lines:
        if "\r" in line.rstrip("\r\n"):
            yield from _LINE.findall(line)
        else:
            yield line


def _delimiter(file: Input, header: str) -> str:
    if file.kind == ".tsv":
        return "\t"
    return next((mark for mark in ",;\t" if mark in header), ",")


def _header(file: Input, line: int, cells: Sequence[str]) -> list[str]:
    """The columns' names; one without a name, as an index has, is called by its number."""
    names = [cell.strip() or f"column {number}" for number, cell in enumerate(cells, start=1)]
    if any("\udc80" <= letter <= "\udcff" for name in names for letter in name):
        raise DataError("The header is not UTF-8.", where=f"{file.name}:{line}", remedy="save the file as UTF-8")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(
            f"The column '{repeated[0]}' stands twice.", where=f"{file.name}:{line}", remedy="rename or remove one"
        )
    return names


def _record(names: Sequence[str], cells: Sequence[str]) -> Record | str:
    if len(cells) > len(names):
        return f"{len(cells) - len(names)} more fields than the header"
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return "not UTF-8"
    return {name: cell or None for name, cell in itertools.zip_longest(names, cells)}
