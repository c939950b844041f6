"""Dolly's layout."""

from unweave.data.layouts.alpaca import read_instruction
from unweave.data.layouts.base import SYSTEM, Content, Layout, Record, is_empty


def _read(record: Record) -> Content:
    if is_empty(record.get("input")):
        return read_instruction(record, "context", "response")
    if not is_empty(record.get("context")):
        raise ValueError("both 'context' and 'input' hold something: which one belongs to the instruction?")
    return read_instruction(record, "input", "response")


DOLLY = Layout(
    name="Dolly",
    required=("instruction", "response"),
    optional=("context", "input", *SYSTEM, "history", "tools"),
    read=_read,
    prompt="`instruction` and `context` (or `input`), after `system` and `history`",
    learned="`response`, and the answers of `history`",
)
