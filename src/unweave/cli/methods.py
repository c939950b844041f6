"""`unweave methods`: the unlearning methods, what they need and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from unweave import terminal
from unweave.cli.common import parse, print_json


@dataclass(frozen=True, kw_only=True)
class MethodsConfig:
    """List the unlearning methods."""


def main(argv: Sequence[str]) -> int:
    """List the methods.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    _, common = parse(MethodsConfig, argv, command="methods", description="List the unlearning methods.")
    from unweave.forget.describe import describe_methods

    found = describe_methods()
    if common.json:
        print_json(found)
    else:
        header = ["name", "what", "inputs", "cost", "source"]
        rows = [[one["name"], one["summary"], ", ".join(one["inputs"]), one["cost"], one["paper"]] for one in found]
        terminal.print_table("unweave forget --method NAME", header, rows, text_columns=header)
    return 0
