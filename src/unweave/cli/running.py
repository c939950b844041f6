"""Running a command of the table: read its options, do its work, show the result."""

import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

from unweave.cli.common import option_value, parse, print_json
from unweave.cli.show.plain import print_pairs
from unweave.cli.table import Command
from unweave.lazy import resolve


def run_command(name: str, command: Command, argv: Sequence[str]) -> int:
    """Run a command.

    Args:
        name: Its name.
        command: Its entry in the table.
        argv: The arguments after the name.

    Returns:
        The exit code.
    """
    if command.first and argv and not argv[0].startswith("-") and option_value(argv, f"--{command.first}") is None:
        argv = [f"--{command.first}", *argv]
    if command.check:
        resolve(command.check)(argv)
    config_type, description = options_of(command, argv)
    config, common = parse(config_type, argv, command=name, description=description)
    if os.environ.get("RANK", "0") != "0":
        # Of the processes that a launcher started, one speaks.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # for as long as the process lives
    result = resolve(command.job)(config)
    if common.json:
        print_json(resolve(command.as_json)(config, result) if command.as_json else result)
    elif command.show:
        resolve(command.show)(config, result)
    else:
        print_pairs(command.title.format(config=config, result=result), result)
    return resolve(command.code)(result) if command.code else 0


def options_of(command: Command, argv: Sequence[str]) -> tuple[type[Any], str]:
    """The dataclass of a command's options.

    Args:
        command: Its entry in the table.
        argv: The arguments, where they choose it.

    Returns:
        The dataclass, and what the command does, for `--help`.
    """
    found = resolve(command.config)
    if not isinstance(found, type):
        return found(argv)
    return found, inspect.cleandoc(found.__doc__ or "").partition("\n\nAttributes:")[0]
