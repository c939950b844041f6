"""Arguments of the library in what it says: quoted in backticks, and called by their options while a command shows it."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

_QUOTED = re.compile(r"`([a-z][a-z0-9_.]*)`")
_options: list[Collection[str]] = []


def quoted(*names: str) -> str:
    """Arguments as a message names them, so that a command can tell them from other words: a file may have an argument's name.

    Args:
        names: Their names.

    Returns:
        Such as `` `epochs`, `batch_size` ``.
    """
    return ", ".join(f"`{name}`" for name in names)


def option_name(argument: str, names: Collection[str]) -> str | None:
    """The option that an argument is.

    Args:
        argument: Its name; `weights.forget` is the option `forget_weights`.
        names: The options that there are, as a config's fields are called.

    Returns:
        Such as `--learning-rate`; `None` where it is none of them.
    """
    name = "_".join(reversed(argument.split(".")))
    return f"--{name.replace('_', '-')}" if name in names else None


def as_options(text: str, names: Collection[str]) -> str:
    """A sentence of the library, its quoted arguments as options: `learning_rate` becomes --learning-rate.

    Args:
        text: The sentence.
        names: The options that there are, as a config's fields are called.

    Returns:
        The sentence; other words in quotes stay.
    """
    return _QUOTED.sub(lambda found: option_name(found[1], names) or found[0], text)


@contextmanager
def showing_options(names: Collection[str]) -> Iterator[None]:
    """Let `shown` call arguments by their options, for as long as the block lasts.

    Args:
        names: The options of the command that runs, as its config's fields are called.

    Yields:
        Nothing.
    """
    _options.append(names)
    try:
        yield
    finally:
        _options.pop()


def shown(text: str) -> str:
    """A sentence of the library as it is shown to people: with options where a command runs. Files and JSON have arguments, as config files do.

    Args:
        text: The sentence.

    Returns:
        The sentence.
    """
    return as_options(text, _options[-1]) if _options else text
