"""`unweave run FILE.yaml`: the command that a config file names, with its values."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from unweave import terminal
from unweave.config import read_command
from unweave.errors import ConfigError, nearest


def main(argv: Sequence[str]) -> int:
    """Replay a config file; further options override its values.

    Args:
        argv: The file, then options of its command.

    Returns:
        The exit code of the command.

    Raises:
        ConfigError: When no file is given, or its command does not exist.
    """
    from unweave.cli.main import COMMANDS

    if argv and argv[0] in ("-h", "--help"):
        terminal.lines(
            "usage: unweave run FILE.yaml [OPTIONS]\n\nRun the command that the file names with its values; OPTIONS override them."
        )
        return 0
    if not argv or argv[0].startswith("-"):
        raise ConfigError("There is no config file to run.", remedy="unweave run RUN_FOLDER/config.yaml")
    # Some commands have parts: `audit influence`.
    command, *part = read_command(Path(argv[0])).split()
    if command not in COMMANDS or command == "run":
        raise ConfigError(
            f"Unknown command '{command}' in the config.", where=argv[0], remedy=nearest(command, COMMANDS)
        )
    return importlib.import_module(f"unweave.cli.{command}").main([*part, "--config", argv[0], *argv[1:]])
