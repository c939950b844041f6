"""Results that need no more than lines of name and value, and sentences of the library."""

from collections.abc import Iterable
from typing import Any

from unweave import terminal
from unweave.arguments import shown
from unweave.config import to_plain


def print_pairs(title: str, result: Any) -> None:
    """Print a result as lines of name and value; what has none is left out.

    Args:
        title: Above them.
        result: A dataclass or a dictionary; of anything else the title says all.
    """
    pairs = to_plain(result)
    terminal.line(title)
    if isinstance(pairs, dict):
        pairs = {name: value for name, value in pairs.items() if value is not None}
        width = max(map(len, pairs), default=0)
        for name, value in pairs.items():
            terminal.line(f"  {name:<{width}}  {value}")


def print_sentences(sentences: Iterable[str], *, label: str = "") -> None:
    """Print what the library says of a result, a line each, with options where it names arguments.

    Args:
        sentences: Cautions, findings, reasons.
        label: Stands before each.
    """
    for sentence in sentences:
        terminal.line(label + shown(sentence))


def report_json(_: Any, path: Any) -> dict[str, Any]:
    """The place of a report.

    Args:
        path: The file.

    Returns:
        A JSON object.
    """
    return {"report": path}
