"""JSON as people have it: one object a line, a list of objects, or an object that holds such a list."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from unweave.data.sources.base import Found, Record
from unweave.data.sources.opening import Input
from unweave.errors import DataError

LISTS = ("data", "rows", "examples", "instances", "records", "items", "train")
"""Keys under which an object may hold the rows of its file."""

_SPACE = re.compile(r"[ \t\r\n]*")


class Decoder:
    """Decodes JSON values: NaN and infinities are missing values, and a key that stands twice with two values is an error, since one would be lost."""

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=lambda _: None, parse_float=_finite
        )
        self._repeated: str | None = None

    def record(self, raw: bytes | str) -> Record | str:
        """Decode a text that should be one object.

        Args:
            raw: The text, as bytes where it is UTF-8.

        Returns:
            The object, or what is wrong.
        """
        try:
            text = raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw), "surrogatepass")
            value, end = self.value(text, _after_space(text, 0))
            end = _after_space(text, end)
            if end < len(text):
                return f"broken JSON: more after the object, at column {end + 1}"
        except UnicodeDecodeError:
            return "not UTF-8"
        except json.JSONDecodeError as error:
            return f"broken JSON: {error.msg} at column {error.colno}"
        except ValueError as error:
            return f"broken JSON: {error}"
        return self.checked(value)

    def value(self, text: str, at: int) -> tuple[Any, int]:
        """Decode the value at a place; for `checked`.

        Args:
            text: The text.
            at: The place.

        Returns:
            The value, and the place after it.

        Raises:
            ValueError: When there is none.
        """
        self._repeated = None
        try:
            return self._decoder.raw_decode(text, at)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def checked(self, value: Any) -> Record | str:
        """Make a record of the value that was decoded last.

        Args:
            value: The value.

        Returns:
            The value where it is an object without repeated keys; otherwise what is wrong with it.
        """
        if self._repeated is not None:
            return f"the key '{self._repeated}' stands twice"
        return value if isinstance(value, dict) else f"a JSON {type(value).__name__}, not an object"

    def _object(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self._repeated = self._repeated or next(
                (key for key, value in pairs if found[key] is not value and found[key] != value), None
            )
        return found


def read_jsonl(file: Input) -> Iterator[Found]:
    """Read one JSON object a line, holding one line at a time.

    Args:
        file: The file.

    Yields:
        Its records; blank lines are passed over.
    """
    with file.open() as stream:
        yield from _lines(file, _text_lines(file, stream))


def read_json(file: Input) -> Iterator[Found]:
    """Read a JSON file whole: a list of objects, an object that holds such a list, or objects one after the other, as in JSONL.

    Args:
        file: The file.

    Yields:
        Its records; the line of a record in a list is its position there.

    Raises:
        DataError: When the file is no JSON, or holds columns.
    """
    with file.open() as stream:
        raw = stream.read()
    try:
        text = raw.decode(json.detect_encoding(raw[:4]), "surrogatepass")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError("The file is not UTF-8.", where=f"{file.name}:{line}", remedy="save it as UTF-8") from error
    at = _after_space(text, 0)
    if text[at : at + 1] == "[":
        yield from _list(file, text, at)
    elif at < len(text):
        yield from _objects(file, text, at)


def _lines(file: Input, lines: Iterator[bytes] | Iterator[str]) -> Iterator[Found]:
    decoder = Decoder()
    for number, raw in enumerate(lines, start=1):
        file.line = number
        if raw and not raw.isspace():
            yield Found(file.name, number, decoder.record(raw))


def _text_lines(file: Input, stream: io.BufferedReader) -> Iterator[bytes] | Iterator[str]:
    """Lines as bytes where they are UTF-8, so that one that is not costs no other; decoded in UTF-16 and UTF-32."""
    encoding = json.detect_encoding(stream.peek(4)[:4])
    return stream if encoding.startswith("utf-8") else decoded_lines(file, stream, encoding)


def decoded_lines(file: Input, stream: io.BufferedReader, encoding: str) -> Iterator[str]:
    """The lines of a stream that is not UTF-8.

    Args:
        file: The file, for errors.
        stream: Its bytes.
        encoding: Their encoding.

    Yields:
        Lines with their ends.

    Raises:
        DataError: When the stream is cut, or is in another encoding.
    """
    text = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
    try:
        yield from text
    except UnicodeError as error:
        raise DataError(
            f"The file is not {encoding.upper()} throughout.", where=file.place, remedy="save it as UTF-8"
        ) from error
    finally:
        # A reader that is given up may have closed the file first.
        if not stream.closed:
            text.detach()


def _list(file: Input, text: str, at: int) -> Iterator[Found]:
    """The objects of a list, decoded one by one: a bad one costs no other."""
    decoder, number = Decoder(), 0
    at = _after_space(text, at + 1)
    while text[at : at + 1] != "]" or number:
        value, end = _value(file, decoder, text, at)
        number += 1
        yield Found(file.name, number, decoder.checked(value))
        at = _after_space(text, end)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            raise _broken(file, text, at, "a comma, or the end of the list, is missing")
        at = _after_space(text, at + 1)
    if (end := _after_space(text, at + 1)) < len(text):
        raise _broken(file, text, end, "there is more after the list")


def _objects(file: Input, text: str, at: int) -> Iterator[Found]:
    decoder = Decoder()
    first_line = text[at:].partition("\n")[0]
    try:
        value, end = decoder.value(text, at)
    except ValueError:
        value, end = None, at
    if value is not None and _after_space(text, end) == len(text):
        yield from _one(file, decoder, value)
    elif isinstance(decoder.record(first_line), dict):
        yield from _lines(file, io.StringIO(text))
    else:
        while at < len(text):
            line = text.count("\n", 0, at) + 1
            value, end = _value(file, decoder, text, at)
            yield Found(file.name, line, decoder.checked(value))
            at = _after_space(text, end)


def _one(file: Input, decoder: Decoder, value: Any) -> Iterator[Found]:
    """A file of one value: the rows in it, or one row."""
    found = decoder.checked(value)
    if isinstance(found, str):
        yield Found(file.name, 1, found)
        return
    lists = [key for key in LISTS if _is_rows(found.get(key))]
    if len(lists) > 1:
        raise DataError(
            f"The file holds several lists of rows: {', '.join(lists)}.",
            where=file.name,
            remedy="save each in a file of its own",
        )
    if lists:
        for number, item in enumerate(found[lists[0]], start=1):
            yield Found(file.name, number, item)
        return
    if _is_columns(found):
        raise DataError(
            "The file holds columns, not rows.",
            where=file.name,
            remedy='write a list of objects (in pandas: to_json(path, orient="records")), or one object a line',
        )
    yield Found(file.name, 1, found)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_columns(found: Record) -> bool:
    """Whether each value is a column: lists of equal length, or objects with the same keys."""
    values = list(found.values())
    if len(values) > 1 and all(isinstance(value, list) for value in values):
        return len({len(value) for value in values}) == 1 and not any(
            isinstance(item, dict) for value in values for item in value
        )
    return bool(values) and all(isinstance(value, dict) and value.keys() == values[0].keys() for value in values)


def _value(file: Input, decoder: Decoder, text: str, at: int) -> tuple[Any, int]:
    try:
        return decoder.value(text, at)
    except json.JSONDecodeError as error:
        raise _broken(file, text, error.pos, error.msg) from error
    except ValueError as error:
        raise _broken(file, text, at, str(error)) from error


def _broken(file: Input, text: str, at: int, reason: str) -> DataError:
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    return DataError(
        f"The file is not valid JSON: {reason} (line {line}, column {column}).",
        where=f"{file.name}:{line}",
        remedy="mend it, or use one object a line (.jsonl)",
    )


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _finite(text: str) -> float | None:
    number = float(text)
    return number if abs(number) != float("inf") else None
