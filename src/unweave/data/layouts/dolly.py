"""Dolly's layout."""

from unweave.data.layouts.alpaca import read_instruction
from unweave.data.layouts.base import Layout

DOLLY = Layout(
    name="Dolly",
    required=("instruction", "response"),
    optional=("context", "system", "history", "tools"),
    read=lambda record: read_instruction(record, "context", "response"),
    prompt="`instruction` and `context`, after `system` and `history`",
    learned="`response`, and the answers of `history`",
)
