"""Values as JSON holds them, whatever a file format or a library makes of them."""

import base64
import datetime
import hashlib
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

SHORT = 256


def plain(value: Any) -> Any:
    """A value that JSON can hold. Dates are in ISO format, exact decimals in digits, NaN and NaT missing.

    Args:
        value: From Parquet, `datasets`, pandas or a program.

    Returns:
        The same in strings, numbers, booleans, `None`, lists and dictionaries.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    if type(value).__name__ in ("NAType", "NaTType"):  # of pandas
        return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        return plain(value.tolist())
    text = str(value)
    # An address in memory is another one in each process.
    return f"<{type(value).__name__}>" if " at 0x" in text else text


_AS_THEY_ARE = (str, bool, int, type(None))

_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (str, str),
    (int, int),
    (Mapping, lambda value: {str(key): plain(item) for key, item in value.items()}),
    ((list, tuple, set, frozenset), lambda value: [plain(item) for item in value]),
    ((bytes, bytearray, memoryview), lambda value: _bytes(bytes(value))),
    (Decimal, lambda value: str(value) if value.is_finite() else None),
)


def _bytes(value: bytes) -> Any:
    """Text where the bytes are text; otherwise no text, so that nothing takes them for one, and of many a digest only."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        pass
    if len(value) <= SHORT:
        return {"base64": base64.b64encode(value).decode()}
    return {"bytes": len(value), "blake2b": hashlib.blake2b(value, digest_size=16).hexdigest()}
