"""Arguments of the library in what it says, called by the options that they are on the command line."""

import re
from collections.abc import Collection

_QUOTED = re.compile(r"`([a-z][a-z0-9_.]*)`")


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
