"""`unweave rows`."""

from collections.abc import Sequence
from typing import Any

from unweave import terminal
from unweave.cli.common import execute, option_value
from unweave.train.config import ShowRowsConfig
from unweave.visible import one_line


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
    from rich.text import Text

    console = terminal.console()
    layouts = ", ".join(f"{name} ({count} rows)" for name, count in shown.layouts.items())
    terminal.line(f"{config.data}: {layouts}")
    terminal.line(f"not used: {', '.join(shown.unused) or 'nothing'}")
    for problem in shown.problems:
        terminal.line(f"{problem.action}: {problem.place}: {problem.reason}")
    for row in shown.rows:
        line = Text(f"\n{one_line(row.id)}", style="bold")
        line.append(
            f"  {one_line(row.place)}, {row.tokens} tokens, {row.learned_tokens} of them learned\n",
            style="not bold dim",
        )
        for text, is_learned in row.pieces:
            # On a terminal color marks what is learned, elsewhere brackets do.
            line.append(text if console.is_terminal or not is_learned else f"⟦{text}⟧", _style(is_learned))
        console.print(line)


def _style(is_learned: bool) -> str:
    return "not bold black on green" if is_learned else "not bold"
