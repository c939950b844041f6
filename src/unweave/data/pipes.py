"""Messages between two processes: eight bytes of length and a JSON object."""

import json
import struct
from collections.abc import Mapping
from typing import IO, Any


def send(pipe: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write a message.

    Args:
        pipe: Where to.
        message: A JSON object.
    """
    body = json.dumps(message, default=_plain).encode()
    pipe.write(struct.pack(">Q", len(body)) + body)
    pipe.flush()


def receive(pipe: IO[bytes]) -> dict[str, Any] | None:
    """Read a message.

    Args:
        pipe: Where from.

    Returns:
        The JSON object, or `None` at the end.
    """
    start = pipe.read(8)
    if len(start) < 8:
        return None
    size = struct.unpack(">Q", start)[0]
    body = pipe.read(size)
    return {**json.loads(body), "size": size} if len(body) == size else None


def _plain(value: Any) -> Any:
    """What JSON has no word for, as transformers shows it to a template."""
    return dict(value) if isinstance(value, Mapping) else f"<{type(value).__name__}>"
