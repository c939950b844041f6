"""Rows on the terminal, as a model sees them."""

from typing import Any

from unweave import terminal
from unweave.train.config import ShowRowsConfig
from unweave.visible import one_line


def show(config: ShowRowsConfig, shown: Any) -> None:
    """Print how rows are read, and each with what is learned of it marked.

    Args:
        config: What to show.
        shown: The rows.
    """
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
