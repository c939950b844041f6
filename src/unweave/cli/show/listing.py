"""Lists of what there is by name."""

from collections.abc import Sequence
from typing import Any

from unweave import terminal


def show(_: Any, found: Sequence[dict[str, Any]]) -> None:
    """Print the methods.

    Args:
        found: What there is to say of each.
    """
    header = ["name", "what", "inputs", "cost", "source"]
    rows = [[one["name"], one["summary"], ", ".join(one["inputs"]), one["cost"], one["paper"]] for one in found]
    terminal.print_table("unweave forget --method NAME", header, rows, text_columns=header)
