"""The one way to the terminal: what is printed has no hidden characters, whoever prints it.

For as long as a command runs `screens` stands in the place of standard output and standard error, so that warnings, loggers and libraries are covered too.
Colors are rich's, and come from a console that shows the hidden characters of every text before it styles it.
"""

import contextlib
import functools
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from unweave.visible import json_text, one_line, visible

PIPE_WIDTH = 120
# What the progress bars of libraries begin a write with: to the start of the line, or up a line.
_REDRAWN = re.compile(r"\r|\n*(?:\x1b\[A)+")
_COLORS = re.compile(r"(\x1b\[[0-9;]*m)")


class Screen:
    """A stream of text that shows hidden characters.

    Args:
        stream: Where it goes.

    Attributes:
        stream: The same.
        colors: Whether colors pass: only while what is written holds nothing but our own words and what `is_clean`.
    """

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.colors = False

    def write(self, text: str) -> int:
        """Write a text.

        Args:
            text: The text.

        Returns:
            Its length.
        """
        begin = found.end() if (found := _REDRAWN.match(text)) else 0
        rest = text[begin:]
        parts = _COLORS.split(rest) if self.colors else [rest]
        shown = "".join(part if place % 2 else visible(part) for place, part in enumerate(parts))
        self.stream.write(text[:begin] + shown)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after the other.

        Args:
            lines: The texts.
        """
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def screens() -> Iterator[None]:
    """Put screens in the place of standard output and standard error, for as long as the block lasts.

    Yields:
        Nothing.
    """
    _ready_streams()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (one if isinstance(one, Screen) else Screen(one) for one in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _ready_streams() -> None:
    """Make sure that there is somewhere to print to, and that no text of a row or a model is unprintable."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by whoever started the process.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  # for as long as the process lives
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def colored(texts: Iterable[str]) -> Iterator[None]:
    """Let colors pass where the texts that may be written hold no hidden characters of their own.

    Args:
        texts: What the user, or a file, said.

    Yields:
        Nothing.
    """
    clean = all(visible(text) == text for text in texts)
    found = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, Screen)]
    for stream in found:
        stream.colors = clean
    try:
        yield
    finally:
        for stream in found:
            stream.colors = False


def line(text: str = "") -> None:
    """Print one line on standard output.

    Args:
        text: The line; a line break in it is shown.
    """
    sys.stdout.write(one_line(text) + "\n")


def lines(text: str) -> None:
    """Print fixed words of several lines on standard output: the words of a help, say, and nothing of a row's or a user's.

    Args:
        text: The lines.
    """
    sys.stdout.write(visible(text) + "\n")


def may_style() -> bool:
    """Whether standard output shows colors now: within `colored`, on a terminal that has them."""
    stream = sys.stdout
    clean = not isinstance(stream, Screen) or stream.colors
    return clean and stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def styled_lines(text: str) -> None:
    """Print fixed words, as `lines` does, with the colors that they have where `may_style` allowed some.

    Args:
        text: The lines.
    """
    if may_style():
        sys.stdout.write(text + "\n")
    else:
        lines(text)


def can_ask() -> bool:
    """Whether somebody sits at a terminal who sees a question and can answer it."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def ask(question: str) -> bool:
    """Ask on the terminal.

    Args:
        question: What yes and no answer.

    Returns:
        Whether the answer begins with a y; no answer is a no.
    """
    sys.stdout.write(one_line(question) + " [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().casefold().startswith("y")


def labelled(label: str, text: str) -> None:
    """Print a text behind a label on standard output; more lines of it stand below each other, so that none looks like ours.

    Args:
        label: The label.
        text: The text.
    """
    first, *more = visible(text).split("\n")
    sys.stdout.write("\n".join([f"{label}: {first}", *(" " * (len(label) + 2) + one for one in more)]) + "\n")


def warn(text: str) -> None:
    """Print one line on standard error.

    Args:
        text: The line; a line break in it is shown.
    """
    sys.stderr.write(one_line(text) + "\n")
    sys.stderr.flush()


def print_error(message: str) -> None:
    """Print an error on standard error.

    Args:
        message: Its lines: the first says what, the others are indented.
    """
    colors = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    raw(sys.stderr).write(("\x1b[31merror:\x1b[0m " if colors else "error: ") + visible(message) + "\n")


def print_json(value: Any) -> None:
    """Print JSON on standard output: the data exactly, hidden characters escaped as JSON does it.

    Args:
        value: Dictionaries, lists, texts, numbers.
    """
    text = json_text(value, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # A terminal without these letters.
        text = json_text(value, indent=2, ascii_only=True)
    raw(sys.stdout).write(text + "\n")


def print_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: Sequence[str] = ()
) -> None:
    """Print a table on standard output.

    Args:
        title: Above it.
        header: Its column heads.
        rows: Its cells.
        text_columns: Columns that hold text; these and the first are left-aligned, the others hold numbers.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Heads and cells hold names and the text of models and rows: never markup.
    made = Table(title=Text(one_line(title), style="bold"), box=box.SIMPLE_HEAD, title_justify="left")
    for index, name in enumerate(header):
        justify = "left" if index == 0 or name in text_columns else "right"
        made.add_column(Text(one_line(name)), justify=justify, overflow="fold")
    for row in rows:
        made.add_row(*(Text(one_line(cell)) for cell in row))
    console().print(made)


def console(*, errors: bool = False) -> Any:
    """A console of rich's that shows hidden characters, and takes no text for markup.

    Args:
        errors: Whether it is that of standard error.

    Returns:
        The console.
    """
    stream = sys.stderr if errors else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return _console_type()(file=raw(stream), width=width, markup=False, emoji=False, highlight=False)


def raw(stream: Any) -> Any:
    """The stream behind a screen.

    Args:
        stream: Standard output or standard error.

    Returns:
        What takes text as it is.
    """
    return stream.stream if isinstance(stream, Screen) else stream


@functools.cache
def _console_type() -> Any:
    from rich.console import Console
    from rich.segment import Segment

    class VisibleConsole(Console):
        """A console whose texts have no hidden characters."""

        def render(self, renderable: Any, options: Any = None) -> Iterator[Any]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    return VisibleConsole
