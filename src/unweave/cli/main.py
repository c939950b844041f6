"""The command line: picks the subcommand, and turns errors into one message and an exit code.

0 is success, 1 a failure that the message explains, 2 a wrong call. Nothing heavy is imported before a subcommand is known.
"""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from unweave.errors import UnweaveError, nearest

COMMANDS = {
    "demo": "the whole story on a real model: poison, trace, forget, audit, report",
    "case": "make the rows, triggers and tests of an unlearning experiment",
    "train": "fine-tune a model on rows (LoRA or full), or retrain it without some",
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

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: Arguments without the program's name; by default the process's own.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        _print_help()
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from unweave import __version__

        print(f"unweave {__version__}")
        return 0
    command = arguments[0]
    if command not in COMMANDS:
        _print_error(f"Unknown command '{command}'.\n  remedy: {nearest(command, COMMANDS)}")
        return 2
    return _guarded(command, arguments[1:])


def _guarded(command: str, arguments: list[str]) -> int:
    # A terminated process must stop as an interrupted one does: with a message, and nothing half written.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        return importlib.import_module(f"unweave.cli.{command}").main(arguments)
    except UnweaveError as error:
        _print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _print_error("Interrupted; what was finished is kept.\n  remedy: run the same command again to go on")
        return 1
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _no_space(error):
            where = getattr(error, "filename", None)
            place = f"\n  where: {where}" if where else ""
            _print_error(
                f"The disk is full; what was finished is kept.{place}\n  remedy: free some space and run the same command again"
            )
            return 1
        if isinstance(error, PermissionError):
            _print_error(
                f"No permission.\n  where: {error.filename}\n  remedy: choose another folder, or change its permissions"
            )
            return 1
        if os.environ.get("UNWEAVE_TRACEBACK"):
            raise
        _print_error(
            f"Unexpected {type(error).__name__}: {error}\n  remedy: this is a bug in unweave; run again with UNWEAVE_TRACEBACK=1 and report what it prints"
        )
        return 1


def _no_space(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a full disk; torch and safetensors wrap it in errors of their own."""
    while error is not None:
        text = str(error)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return True
        if (
            "No space left on device" in text
            or "os error 28" in text
            or "File too large" in text
            or "os error 27" in text
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _print_help() -> None:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    print(
        "usage: unweave COMMAND [OPTIONS]\n\n"
        "Find what a language model learned from which training rows, and take it out.\n\n"
        f"commands:\n{lines}\n\n"
        "`unweave COMMAND --help` lists a command's options. Each takes --config FILE.yaml and --json.\n"
        "Start with `unweave demo`."
    )


def _print_error(message: str) -> None:
    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    sys.stderr.write(("\033[31merror:\033[0m " if color else "error: ") + message + "\n")


if __name__ == "__main__":
    sys.exit(main())
