"""The options of a command as `--help` and shell completion show them: what each takes, its default, its text and its group."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from unweave.config import to_plain
from unweave.registry import concrete

GROUPS = ("required", "options", "model", "data", "run")
"""In the order in which they are shown."""

SHARED = GROUPS[2:]
"""Groups whose options stand in the same order everywhere."""

_VALUES = {Path: "PATH", str: "TEXT", int: "INT", float: "FLOAT"}
_OF_RUNS = ("seed", "token_budget")


@dataclass(frozen=True)
class Option:
    """An option.

    Attributes:
        name: Of its field.
        group: One of `GROUPS`.
        value: What it takes, in capitals; empty for a switch.
        choices: The values that it may have, where these are few.
        default: Its default, in words; empty where there is none to speak of.
        text: What it is.
        is_required: Whether it must be given.
        is_positional: Whether it is given by its place.
        is_on: Whether it is a switch that is on.
    """

    name: str
    group: str
    value: str
    choices: tuple[str, ...]
    default: str
    text: str
    is_required: bool
    is_positional: bool
    is_on: bool

    @property
    def flag(self) -> str:
        """How it is typed, without its value."""
        return self.name.upper() if self.is_positional else f"--{self.name.replace('_', '-')}"

    @property
    def usage(self) -> str:
        """How it is typed."""
        if self.is_positional:
            return self.flag
        if not self.value:
            return f"{self.flag}, --no-{self.flag[2:]}" if self.is_on else self.flag
        return f"{self.flag} {self.value}"


def options_of(kind: type[Any], common: type[Any], default: Any = None) -> list[Option]:
    """The options of a command.

    Args:
        kind: The dataclass of its own options.
        common: That of the options which all commands have.
        default: An instance whose values are the defaults, as a config file gives them.

    Returns:
        The options; a command's own stand before those that it shares.
    """
    texts = _texts(kind) | _texts(common)
    groups = _groups() | {field.name: "run" for field in dataclasses.fields(common)}
    made = []
    for name, field, hint in [*_fields(kind), *_fields(common)]:
        value = field.default if default is None else getattr(default, name)
        if value is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        is_required = value is dataclasses.MISSING
        is_positional = typing.get_origin(hint) is typing.Annotated and tyro.conf.Positional in typing.get_args(hint)
        shown, choices = _value_of(concrete(hint))
        made.append(
            Option(
                name,
                "required" if is_required else groups.get(name, "options"),
                shown,
                choices,
                "" if is_required else _words(value),
                texts.get(name, ""),
                is_required,
                is_positional,
                value is True,
            )
        )
    order = list(groups)
    return sorted(made, key=lambda one: order.index(one.name) if one.group in SHARED else -1)


def _fields(kind: type[Any]) -> list[tuple[str, dataclasses.Field[Any], Any]]:
    """The fields of a dataclass, those of a class before those of its bases, with their types."""
    by_name = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind, include_extras=True)
    names = dict.fromkeys(name for one in kind.__mro__ for name in inspect.get_annotations(one))
    return [(name, by_name[name], hints[name]) for name in names if name in by_name]


def _groups() -> dict[str, str]:
    from unweave.data.config import DataConfig
    from unweave.engines.config import EngineConfig
    from unweave.models.loading import ModelConfig
    from unweave.train.config import LoraOptions

    shared = {"model": (ModelConfig, LoraOptions), "data": (DataConfig,), "run": (EngineConfig,)}
    found = {name: group for group, kinds in shared.items() for kind in kinds for name, *_ in _fields(kind)}
    return found | dict.fromkeys(_OF_RUNS, "run")


def _texts(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a dataclass and its bases say of each field."""
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        _, _, block = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")
        for entry in re.split(r"\n(?=    \w)", f"\n{block}"):
            name, _, text = entry.strip().partition(":")
            texts[name] = " ".join(text.split())
    return texts


def _value_of(hint: Any) -> tuple[str, tuple[str, ...]]:
    """What an option takes, in capitals, and the choices where there are some."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _value_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _value_of(next(argument for argument in arguments if argument is not type(None)))
    if origin is typing.Literal:
        choices = tuple(str(choice) for choice in arguments if choice is not None)
        return f"{{{','.join(choices)}}}", choices
    if origin is dict:
        return "NAME VALUE ...", ()
    if origin in (tuple, list):
        one, choices = _value_of(arguments[0])
        return f"{one} ...", choices
    return _VALUES.get(hint, "") if hint is not bool else "", ()


def _words(value: Any) -> str:
    """A default in words; none for what is off, empty or decided later."""
    plain = to_plain(value)
    if plain is True:
        return "yes"
    if plain is None or plain is False or plain in ("", [], {}):
        return ""
    return " ".join(map(str, plain)) if isinstance(plain, list) else str(plain)


def of_group(options: Sequence[Option], group: str) -> list[Option]:
    """The options of one group.

    Args:
        options: All of a command.
        group: Which.

    Returns:
        Them, those by place first.
    """
    return sorted((one for one in options if one.group == group), key=lambda one: not one.is_positional)
