"""Names of an earlier release that still work, each with a notice on standard error; they go with the next one."""

from collections.abc import Sequence

from unweave import terminal

COMMANDS = {"methods": "list methods"}
"""Old name of a command to its new one."""

OPTIONS = {
    "weigh": {"out_forget": "output_forget", "out_retain": "output_retain"},
    "audit tofu": {"forget": "forget_split", "rows": "max_rows"},
    "request verify": {"rows": "max_rows"},
}
"""Command to the old names of its options, as its fields are called, and their new ones."""


def current_command(arguments: Sequence[str]) -> list[str]:
    """A command line with the new name of its command.

    Args:
        arguments: Its words.

    Returns:
        Them, with the first ones replaced where they are an old name.
    """
    for old, new in COMMANDS.items():
        if list(arguments[: len(old.split())]) == old.split():
            _say(f"unweave {old}", f"unweave {new}")
            return [*new.split(), *arguments[len(old.split()) :]]
    return list(arguments)


def current_plan(arguments: Sequence[str]) -> list[str]:
    """What follows `unweave plan`, with the command that it is about.

    Args:
        arguments: The words.

    Returns:
        Them; `cache` stands first where they name no command.
    """
    if not arguments[0].startswith("-"):
        return list(arguments)
    _say("unweave plan", "unweave plan cache")
    return ["cache", *arguments]


def current_options(command: str, arguments: Sequence[str]) -> list[str]:
    """Arguments with the new names of their options.

    Args:
        command: The command.
        arguments: Its arguments.

    Returns:
        Them, with old names replaced.
    """
    renamed = {option_of(old): option_of(new) for old, new in OPTIONS.get(command, {}).items()}
    found = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        new = renamed.get(name.replace("_", "-"))
        if new is not None:
            _say(name, new)
        found.append(argument if new is None else new + equals + value)
    return found


def current_key(command: str, name: str) -> str:
    """The new name of a key in a command's config file.

    Args:
        command: The command.
        name: The key.

    Returns:
        It, or what it is called now.
    """
    new = OPTIONS.get(command, {}).get(name, name)
    if new != name:
        _say(name, new)
    return new


def option_of(name: str) -> str:
    """How an option is typed.

    Args:
        name: Of its field.

    Returns:
        The option.
    """
    return f"--{name.replace('_', '-')}"


def _say(old: str, new: str) -> None:
    terminal.warn(f"note: `{old}` is now called `{new}`; the old name works for one more release")
