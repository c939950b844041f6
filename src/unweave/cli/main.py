"""The command line: picks the subcommand, and turns errors into one message and an exit code.

0 is success, 1 a failure that the message explains, 2 a wrong call, 130 an interruption. Nothing heavy is imported before a subcommand is known.
"""

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence

from unweave import outputs, progress, terminal
from unweave.errors import ConfigError, UnweaveError, nearest
from unweave.faults import explained

COMMANDS = {
    "demo": "the whole story on a real model: poison, trace, forget, audit, report",
    "case": "make the rows, triggers and tests of an unlearning experiment",
    "train": "fine-tune a model on rows (LoRA or full), or retrain it without some",
    "rows": "show how rows are read, and what a model sees and learns of each",
    "doctor": "check a model and its data for mistakes that ruin influence silently",
    "plan": "predict memory, disk and time of caching",
    "cache": "sketch the gradients of rows into a store",
    "trace": "find the training rows that an answer comes from",
    "value": "say what rows are worth for a task, before training on them",
    "weigh": "turn influence into a weight for each row",
    "forget": "take the influence of rows out of a model",
    "methods": "list the unlearning methods, what they need and what they cost",
    "audit": "measure what was forgotten and what was kept, before and after",
    "request": "the deletion ledger: add, list, run, verify, roll back requests to forget",
    "bench": "compare forgetting methods on equal terms",
    "report": "write the HTML report of a run folder",
    "store": "look after a gradient store: info, check, repair, delete, compact, merge",
    "run": "repeat a run from its config.yaml",
}

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: Arguments without the program's name; by default the process's own.

    Returns:
        The exit code.
    """
    with terminal.screens():
        return _run(list(sys.argv[1:] if argv is None else argv))


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        _print_help()
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from unweave import __version__

        terminal.line(f"unweave {__version__}")
        return 0
    command = arguments[0]
    if command not in COMMANDS:
        error = ConfigError(f"Unknown command '{command}'.", remedy=nearest(command, COMMANDS))
        terminal.print_error(str(error))
        return error.exit_code
    return _guarded(command, arguments[1:])


def _guarded(command: str, arguments: list[str]) -> int:
    if threading.current_thread() is threading.main_thread():
        # A terminated process must stop as an interrupted one does: with a message, and nothing half written.
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    silenced = progress.silenced()
    try:
        code = importlib.import_module(f"unweave.cli.{command}").main(arguments)
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
        known = explained(error) or UnweaveError(
            f"Unexpected {type(error).__name__}: {error}",
            remedy="this is a bug in unweave; run again with UNWEAVE_TRACEBACK=1 and report what it prints",
        )
        terminal.print_error(str(known))
        return known.exit_code
    finally:
        # A caller from Python goes on after the command, and these were the command's.
        progress.silence(silenced)
        outputs.overwrite(False)
    return code


def _print_help() -> None:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    terminal.lines(
        "usage: unweave COMMAND [OPTIONS]\n\n"
        "Find what a language model learned from which training rows, and take it out.\n\n"
        f"commands:\n{lines}\n\n"
        "`unweave COMMAND --help` lists a command's options. Each takes --config FILE.yaml and --json.\n"
        "Start with `unweave demo`."
    )


if __name__ == "__main__":
    sys.exit(main())
