"""Running a command of the table: read its options, do its work, show the result."""

import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

from unweave.arguments import shown
from unweave.cli.common import arguments_as_options, option_value, parse, print_json
from unweave.cli.renamed import current_options
from unweave.cli.show.plain import print_pairs
from unweave.cli.table import TABLE, Command
from unweave.lazy import resolve


def run_command(name: str, command: Command, argv: Sequence[str]) -> int:
    """Run a command.

    Args:
        name: Its name.
        command: Its entry in the table.
        argv: The arguments after the name.

    Returns:
        The exit code.

    Raises:
        UnweaveError: As the job raises it, arguments that it names called by the options that they are.
    """
    if command.first and argv and not argv[0].startswith("-") and option_value(argv, f"--{command.first}") is None:
        argv = [f"--{command.first}", *argv]
    if command.check:
        resolve(command.check)(argv)
    config_type, description = config_of(command, argv)
    argv = current_options(name, argv)
    config, common = parse(config_type, argv, command=name, description=description, first=command.first)
    if os.environ.get("RANK", "0") != "0":
        # Of the processes that a launcher started, one speaks.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # for as long as the process lives
    plan = command.plan if getattr(common, "dry_run", False) else None
    with arguments_as_options(config, common):
        result = resolve(plan or command.job)(config)
        if common.json:
            print_json(resolve(command.as_json)(config, result) if command.as_json and not plan else result)
        elif plan:
            print_pairs(f"plan: {name}", {about: shown(text) for about, text in result.lines().items()})
        elif command.show:
            resolve(command.show)(config, result)
        else:
            print_pairs(command.title.format(config=config, result=result), result)
    return resolve(command.code)(result) if command.code and not plan else 0


def config_of(command: Command, argv: Sequence[str]) -> tuple[type[Any], str]:
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
    if sum(other.config == command.config for other in TABLE.values()) > 1:
        return found, f"{command.about[0].upper()}{command.about[1:]}."
    return found, inspect.cleandoc(found.__doc__ or "").partition("\n\nAttributes:")[0]
