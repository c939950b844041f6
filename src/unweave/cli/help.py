"""`--help` of a command."""

import shutil
import textwrap
from collections.abc import Sequence

from unweave import terminal
from unweave.cli.options import GROUPS, Option, of_group

WIDEST = 100
INDENT = 2
COLUMN = 26
"""Where the texts begin."""
LONG = 30
"""Characters of a default that may be broken."""
HELD = "\0"
"""A space at which no line is broken."""


def print_help(command: str, description: str, options: Sequence[Option], *, first: str | None = None) -> None:
    """Print what a command does and takes.

    Args:
        command: Its name.
        description: What it does.
        options: Its options.
        first: The option whose name may be left out where its value comes first.
    """
    width = min(WIDEST, shutil.get_terminal_size().columns)
    styled = terminal.may_style()
    parts = [_usage(command, options, first, width)]
    parts += [textwrap.fill(" ".join(text.split()), width) for text in description.split("\n\n")]
    for group in GROUPS:
        if own := of_group(options, group):
            lines = [line for one in own for line in _lines(one, width, styled)]
            parts.append("\n".join([_style(f"{group}:", "1", styled), *lines]))
    terminal.styled_lines("\n\n".join(parts))


def _usage(command: str, options: Sequence[Option], first: str | None, width: int) -> str:
    words = [
        f"[{one.flag}] {one.value}" if one.name == first else one.usage if one.is_required else f"[{one.usage}]"
        for one in sorted(options, key=lambda one: (not one.is_positional, one.name != first))
        if one.is_required or one.is_positional
    ]
    line = " ".join(["usage: unweave", command, *words, "[OPTIONS]"])
    return textwrap.fill(line, width, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False)


def _lines(option: Option, width: int, styled: bool) -> list[str]:
    head, text = option.usage, option.text
    if option.choices and len(head) > width // 2:
        head = f"{option.flag} CHOICE" + (" ..." if head.endswith(" ...") else "")
        text += f" One of: {', '.join(option.choices)}."
    if option.default:
        default = f"(default: {option.default})"
        text += f" {default if len(default) > LONG else default.replace(' ', HELD)}"
    body = [line.replace(HELD, " ") for line in textwrap.wrap(text, width - COLUMN, break_on_hyphens=False)]
    shown = " " * INDENT + head.replace(option.flag, _style(option.flag, "36", styled), 1)
    if INDENT + len(head) + 2 <= COLUMN:
        return [shown + " " * (COLUMN - INDENT - len(head)) + body[0], *(" " * COLUMN + line for line in body[1:])]
    return [shown, *(" " * COLUMN + line for line in body)]


def _style(text: str, code: str, styled: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if styled else text
