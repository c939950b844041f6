"""Lists of what there is by name."""

from collections.abc import Sequence
from typing import Any

from unweave import terminal
from unweave.jobs.listing import OPTIONS, ListOptions


def show(config: ListOptions, found: Sequence[dict[str, Any]]) -> None:
    """Print the names of a kind, and what each is.

    Args:
        config: Of which kind.
        found: What there is to say of each.
    """
    option = OPTIONS.get(config.kind)
    title = f"{option} NAME" if option else config.kind
    if config.kind == "methods":
        header = ["name", "what", "inputs", "cost", "source"]
        rows = [[one["name"], one["summary"], ", ".join(one["inputs"]), one["cost"], one["paper"]] for one in found]
    else:
        header = ["name", "what"]
        rows = [[one["name"], one["summary"]] for one in found]
    terminal.print_table(title, header, rows, text_columns=header)
