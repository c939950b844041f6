"""`unweave rows`."""

import sys
from collections.abc import Sequence
from typing import Any

from unweave.cli.common import execute, option_value
from unweave.train.config import ShowRowsConfig


def main(argv: Sequence[str]) -> int:
    """Show rows as a model sees them.

    Args:
        argv: The arguments; the rows' file may stand first, by itself.

    Returns:
        The exit code.
    """
    if argv and not argv[0].startswith("-") and option_value(argv, "--data") is None:
        argv = ["--data", *argv]
    return execute(
        ShowRowsConfig,
        argv,
        command="rows",
        description="Say how rows are read, and show each as the model sees it, with what is learned of it marked: unweave rows FILE --model M. "
        "--json prints one object: layout, layouts, read, unused, problems, rows; of each row id, text, learned (a list of texts, each with what ends the "
        "answer) and unused (a list of columns).",
        work="unweave.data.shown:show_rows",
        show=_show,
    )


def _show(config: ShowRowsConfig, shown: Any) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    layouts = ", ".join(f"{name} ({count} rows)" for name, count in shown.layouts.items())
    console.print(Text(f"{config.data}: {layouts}"))
    console.print(Text(f"not used: {', '.join(shown.unused) or 'nothing'}"))
    for problem in shown.problems:
        console.print(Text(f"{problem.action}: {problem.place}: {problem.reason}"))
    for row in shown.rows:
        line = Text(f"\n{row.id}", style="bold")
        line.append(f"  {row.place}, {row.tokens} tokens, {row.learned_tokens} of them learned\n", style="not bold dim")
        for text, is_learned in row.pieces:
            # On a terminal color marks what is learned, elsewhere brackets do.
            line.append(text if console.is_terminal or not is_learned else f"⟦{text}⟧", _style(is_learned))
        console.print(line)


def _style(is_learned: bool) -> str:
    return "not bold black on green" if is_learned else "not bold"
