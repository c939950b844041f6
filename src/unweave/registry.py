"""Things by name: a registry is a plain dictionary, and what an option may be is read off it when it is asked for.

An entry is the thing itself, or `module:name`, which is imported when it is first used: reading options and `--help` load no torch.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from unweave.arguments import quoted
from unweave.errors import ConfigError, nearest
from unweave.lazy import resolve


@dataclasses.dataclass(frozen=True, eq=False)
class OneOf:
    """Marks an option whose values are the names in a registry: `Annotated[str, OneOf(SKETCHES)]`.

    Attributes:
        registry: The registry; names that are added to it later are choices too.
        others: Names that mean something without an entry, such as `none`.
    """

    registry: Mapping[str, Any]
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All choices."""
        return tuple(dict.fromkeys((*self.others, *self.registry)))


def entry(registry: Mapping[str, Any], name: str, *, option: str, others: tuple[str, ...] = ()) -> Any:
    """What a name stands for.

    Args:
        registry: Name to the thing, or to `module:name`.
        name: The name.
        option: The argument that gave it, for the error.
        others: Names that the option may have without an entry.

    Returns:
        The thing.

    Raises:
        ConfigError: When the registry has no such name.
    """
    if name not in registry:
        raise ConfigError(
            f"'{name}' is no {option.replace('_', ' ')}.",
            where=quoted(option),
            remedy=nearest(name, (*others, *registry)),
        )
    found = registry[name]
    return resolve(found) if isinstance(found, str) else found


def choices_of(hint: Any) -> OneOf | None:
    """The mark of an annotated type.

    Args:
        hint: A type.

    Returns:
        The mark, or `None`.
    """
    if typing.get_origin(hint) is not typing.Annotated:
        return None
    return next((mark for mark in typing.get_args(hint)[1:] if isinstance(mark, OneOf)), None)


def concrete(hint: Any) -> Any:
    """A type with each marked text in it replaced by the literal of its choices as they are now.

    Args:
        hint: A type, of an option.

    Returns:
        The type, for a parser that knows literals.
    """
    if (mark := choices_of(hint)) is not None:
        return typing.Literal[mark.names]
    arguments = typing.get_args(hint)
    if not arguments or typing.get_origin(hint) in (typing.Literal, typing.Annotated):
        return hint
    inner = tuple(argument if argument is Ellipsis else concrete(argument) for argument in arguments)
    if inner == arguments:
        return hint
    origin = typing.get_origin(hint)
    return typing.Union[inner] if origin in (typing.Union, types.UnionType) else origin[inner]  # noqa: UP007  # of a tuple


def marked_fields(kind: type) -> dict[str, OneOf]:
    """The options of a config whose choices are read off a registry.

    Args:
        kind: A dataclass.

    Returns:
        Name to mark.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    marks = {field.name: _mark_in(hints[field.name]) for field in dataclasses.fields(kind)}
    return {name: mark for name, mark in marks.items() if mark is not None}


def _mark_in(hint: Any) -> OneOf | None:
    if (mark := choices_of(hint)) is not None:
        return mark
    return next((found for argument in typing.get_args(hint) if (found := _mark_in(argument)) is not None), None)
