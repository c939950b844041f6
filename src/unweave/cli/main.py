"""The command line: finds the command in the table, runs it, and turns errors into one message and an exit code.

0 is success, 1 a failure that the message explains, 2 a wrong call, 130 an interruption. Nothing heavy is imported before a command is known.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from unweave import outputs, progress, terminal
from unweave.cli.renamed import current_command, current_plan
from unweave.cli.table import BUILT_IN, GROUPS, TABLE
from unweave.errors import ConfigError, UnweaveError, nearest
from unweave.faults import explained

INTERRUPTED = 130
HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: Arguments without the program's name; by default the process's own.

    Returns:
        The exit code.
    """
    with terminal.screens():
        return _guarded(list(sys.argv[1:] if argv is None else argv))


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in (*HELP, "help"):
        _print_commands()
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from unweave import __version__

        terminal.line(f"unweave {__version__}")
        return 0
    if arguments[0] == "run":
        return _replay(arguments[1:])
    if arguments[0] == "plan":
        return _plan(arguments[1:])
    name, rest = split(current_command(arguments))
    if name in TABLE:
        from unweave.cli.running import run_command

        return run_command(name, TABLE[name], rest)
    _print_group(name)
    return 0 if rest else 2


def split(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Find the command that a line begins with.

    Args:
        arguments: Its words.

    Returns:
        The name of a command or a group, and the words after it.

    Raises:
        ConfigError: When there is none of that name.
    """
    if (name := " ".join(arguments[:2])) in TABLE:
        return name, list(arguments[2:])
    name, rest = arguments[0], list(arguments[1:])
    own = [command.removeprefix(f"{name} ") for command in TABLE if command.startswith(f"{name} ")]
    if own and rest and not rest[0].startswith("-"):
        raise ConfigError(f"Unknown command '{name} {rest[0]}'.", remedy=nearest(rest[0], own))
    if name in TABLE or own:
        return name, rest
    raise ConfigError(f"Unknown command '{arguments[0]}'.", remedy=nearest(arguments[0], _listed()))


def _plan(arguments: list[str]) -> int:
    """Say what a command will take."""
    if not arguments or arguments[0] in HELP:
        own = {name: command.about for name, command in TABLE.items() if command.plan}
        terminal.lines(
            f"usage: unweave plan COMMAND [OPTIONS]\n\nSay what a command will take and do nothing, as its --dry-run does.\n\ncommands:\n{_columns(own)}"
        )
        return 0 if arguments else 2
    from unweave.cli.running import run_command

    name, rest = split(current_plan(arguments))
    if name not in TABLE or not TABLE[name].plan:
        planned = [name for name, command in TABLE.items() if command.plan]
        raise ConfigError(f"`unweave {name}` has no plan.", remedy=nearest(name, planned))
    return run_command(name, TABLE[name], [*rest, "--dry-run"])


def _replay(arguments: list[str]) -> int:
    """Run the command that a config file names; further options override its values."""
    if arguments and arguments[0] in HELP:
        terminal.lines(
            "usage: unweave run FILE.yaml [OPTIONS]\n\nRun the command that the file names with its values; OPTIONS override them."
        )
        return 0
    if not arguments or arguments[0].startswith("-"):
        raise ConfigError("There is no config file to run.", remedy="unweave run RUN_FOLDER/config.yaml")
    from unweave.cli.running import run_command
    from unweave.config import read_command

    command = " ".join(current_command(read_command(Path(arguments[0])).split()))
    if command not in TABLE:
        raise ConfigError(
            f"Unknown command '{command}' in the config.", where=arguments[0], remedy=nearest(command, TABLE)
        )
    return run_command(command, TABLE[command], ["--config", *arguments])


def _guarded(arguments: list[str]) -> int:
    if threading.current_thread() is threading.main_thread():
        # A terminated process must stop as an interrupted one does: with a message, and nothing half written.
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    silenced = progress.silenced()
    try:
        code = _run(arguments)
        # What a pipe's reader no longer takes must show here, not when the interpreter ends.
        sys.stdout.flush()
    except UnweaveError as error:
        terminal.print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        terminal.print_error("Interrupted; what was finished is kept.\n  remedy: run the same command again to go on")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("UNWEAVE_TRACEBACK"):
            traceback.print_exc()
        shown = explained(error) or UnweaveError(
            f"Unexpected {type(error).__name__}: {error}",
            remedy="this is a bug in unweave; run again with UNWEAVE_TRACEBACK=1 and report what it prints",
        )
        terminal.print_error(str(shown))
        return shown.exit_code
    finally:
        # A caller from Python goes on after the command, and these were the command's.
        progress.silence(silenced)
        outputs.overwrite(False)
    return code


def _listed() -> dict[str, str]:
    """What `unweave --help` lists: commands of one word, and groups."""
    found: dict[str, str] = {}
    for name, command in TABLE.items():
        first = name.partition(" ")[0]
        found.setdefault(first, GROUPS.get(first, command.about))
    return found | BUILT_IN


def _print_commands() -> None:
    terminal.lines(
        "usage: unweave COMMAND [OPTIONS]\n\n"
        "Find what a language model learned from which training rows, and take it out.\n\n"
        f"commands:\n{_columns(_listed())}\n\n"
        "`unweave COMMAND --help` lists a command's options. Each takes --config FILE.yaml and --json.\n"
        "Start with `unweave demo`."
    )


def _print_group(group: str) -> None:
    own = {name: command.about for name, command in TABLE.items() if name.startswith(f"{group} ")}
    about = GROUPS[group][0].upper() + GROUPS[group][1:]
    terminal.lines(
        f"usage: unweave {group} COMMAND [OPTIONS]\n\n{about}.\n\ncommands:\n{_columns(own)}\n\n"
        f"`unweave {group} COMMAND --help` lists a command's options. Each takes --config FILE.yaml and --json."
    )


def _columns(pairs: dict[str, str]) -> str:
    width = max(map(len, pairs))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in pairs.items())


if __name__ == "__main__":
    sys.exit(main())
