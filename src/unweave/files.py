"""Texts, JSON and digests in files."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from unweave.errors import DataError
from unweave.replacing import replacing

T = TypeVar("T")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, all of it or nothing.

    Args:
        path: The file to write.
        text: Its whole content. Half of a character, as in a file's name that is not UTF-8, is written as its escape, which JSON reads back.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, all of it or nothing.

    Args:
        path: The file to write.
        value: What to write; NaN and infinities become null, since JSON has neither.
    """
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes.

    Args:
        path: The file.

    Returns:
        32 hexadecimal digits.
    """
    with path.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def text_digest(text: str) -> str:
    """What `file_digest` says of a file that holds a text.

    Args:
        text: The text.

    Returns:
        32 hexadecimal digits.
    """
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, all of it or nothing.

    Args:
        path: The file to write.
        records: The objects.
    """
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read_json(path: Path, *, what: str) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        what: What the file is, for the error message.

    Returns:
        The decoded value.

    Raises:
        DataError: When the file is missing or is not JSON.
    """
    return parse_json(read_text(path, what=what), what=what, where=str(path))


def read_record(path: Path, *, what: str) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Args:
        path: The file.
        what: What the file is, for the error message.

    Returns:
        The object.

    Raises:
        DataError: When the file is missing, is not JSON, or holds something else.
    """
    value = read_json(path, what=what)
    if not isinstance(value, dict):
        raise DataError(f"{what} is not a JSON object.", where=str(path), remedy="write the file anew")
    return value


def read_record_if_any(path: Path, *, what: str) -> dict[str, Any] | None:
    """Read a JSON file that holds one object, where there is such a file.

    Args:
        path: The file.
        what: What the file is, for the error message.

    Returns:
        The object; `None` without a file.
    """
    return read_record(path, what=what) if path.is_file() else None


def read_text(path: Path, *, what: str) -> str:
    """Read a text file.

    Args:
        path: The file.
        what: What the file is, for the error message.

    Returns:
        Its text, without a byte-order mark.

    Raises:
        DataError: When the file is missing, can't be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{what} not found.", where=str(path), remedy="check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{what} is not UTF-8 text.", where=str(path), remedy="write the file anew") from error
    except (OSError, ValueError) as error:
        # A folder, a file without permission, a name with a null byte.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{what} can't be read: {reason}.", where=str(path), remedy="check the path") from error


def parse_json(text: str, *, what: str, where: str) -> Any:
    """Read JSON.

    Args:
        text: The text.
        what: What it is, for the error message.
        where: Where it stands.

    Returns:
        The decoded value.

    Raises:
        DataError: When it is not JSON, or is too deep or holds a number too long to be data.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{what} is not valid JSON: {reason}.", where=where, remedy="write the file anew") from error


def remembered(path: Path, identity: dict[str, Any], compute: Callable[[], T], *, key: str, what: str) -> T:
    """What was computed before from the same things, or the computation and a note of it.

    Args:
        path: The JSON file that keeps it.
        identity: What the value depends on, as JSON holds it: a file of another identity is written anew.
        compute: Makes the value, as JSON holds it.
        key: Under which the value stands in the file.
        what: What the file is, for error messages.

    Returns:
        The value.
    """
    if path.is_file():
        kept = read_json(path, what=what)
        if kept.get("identity") == identity:
            return kept[key]
    value = compute()
    write_json(path, {"identity": identity, key: value})
    return value


def finite(value: Any) -> Any:
    """Replace NaN and infinities by `None`, all the way down.

    Args:
        value: Nested dictionaries, lists and scalars.

    Returns:
        The same structure, fit for strict JSON.
    """
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
