"""Frozen dataclasses from YAML, and back: the one source of every option.

The loader is strict. An unknown key is answered with the nearest known one and its line, a value of the wrong type with the
type that was expected, and all errors of a file come at once. `1e-4` is a float here, as everywhere but in YAML 1.1.
"""

import dataclasses
import functools
import os
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from unweave.arguments import quoted
from unweave.errors import ConfigError, nearest
from unweave.names import PACKAGED_MODEL
from unweave.ranges import require_in_range
from unweave.registry import choices_of

T = TypeVar("T")
SURROGATE = re.compile("[\ud800-\udfff]")

MODELS = ("model", "adapter", "before", "after", "retrained", "others", "target_reference")
"""Options that are a folder or an id of the hub."""

# The same loader in C, where PyYAML was built with it: a config takes a tenth of the time.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_hints = functools.cache(functools.partial(typing.get_type_hints, include_extras=True))


def to_plain(value: Any) -> Any:
    """A config as nested dictionaries, lists and scalars.

    Args:
        value: A dataclass instance, or anything inside one.

    Returns:
        What YAML and JSON can hold.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def part_of(kind: type[T], source: Any) -> T:
    """The part of a config that another, smaller one describes.

    Args:
        kind: The dataclass of the part.
        source: An object with all of its fields.

    Returns:
        An instance of `kind`.
    """
    return kind(**{field.name: getattr(source, field.name) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]


def dump_yaml(command: str, config: Any) -> str:
    """A config file that `unweave run` replays.

    Models on this disk are named by absolute paths: from another folder, a relative one would be looked for on the hub, where anyone may own it.

    Args:
        command: The subcommand the config belongs to.
        config: The dataclass instance.

    Returns:
        The text of the file; its first line is the command that runs it.
    """
    values = {name: _from_everywhere(value) if name in MODELS else value for name, value in to_plain(config).items()}
    body = yaml.safe_dump({"command": command, **values}, sort_keys=False, allow_unicode=True, width=110)
    return f"# unweave run THIS_FILE\n{body}"


def texts_of(value: Any, *, paths: bool = True) -> Iterator[str]:
    """All texts in the value of an option.

    Args:
        value: A text, a path, or lists and dictionaries of such.
        paths: Whether paths are texts.

    Yields:
        Each.
    """
    if isinstance(value, str) or (paths and isinstance(value, Path)):
        yield str(value)
    elif isinstance(value, dict | tuple | list):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts_of(item, paths=paths)


def require_text(config: Any) -> None:
    """Refuse a config with a text that is none: bytes on the command line that are not UTF-8. A path may have them, a file's name is bytes.

    Args:
        config: A dataclass instance.

    Raises:
        ConfigError: Naming the first such argument.
    """
    for field in dataclasses.fields(config):
        if any(map(SURROGATE.search, texts_of(getattr(config, field.name), paths=False))):
            raise ConfigError(
                f"{field.name} is not UTF-8 text.",
                where=quoted(field.name),
                remedy="give text in UTF-8, or a path of UTF-8",
            )


def _from_everywhere(value: Any) -> Any:
    """A model's name, or a list of them, as it holds from every folder."""
    if isinstance(value, list):
        return [_from_everywhere(item) for item in value]
    is_here = isinstance(value, str) and value != PACKAGED_MODEL and Path(value).exists()
    return os.path.abspath(value) if is_here else value  # noqa: PTH100  # links stay as they are


def read_command(path: Path) -> str:
    """The subcommand that a config file is for.

    Args:
        path: The YAML file.

    Returns:
        The value of its `command` key.

    Raises:
        ConfigError: When the file can't be read or has no such key.
    """
    command = read_value(path, "command")
    if command is not None:
        return command
    raise ConfigError("The config names no command.", where=f"{path}:1", remedy="add a line such as `command: forget`")


def read_value(path: Path, name: str) -> str | None:
    """One scalar of a config file, where it decides which dataclass reads the rest.

    Args:
        path: The YAML file.
        name: The key.

    Returns:
        Its text, or `None` when the file has no such key.
    """
    return next((str(node.value) for key, node in _mapping(path) if key.value == name), None)


def load_yaml(
    config_type: type[T], path: Path, *, command: str | None = None, current: Callable[[str], str] = lambda name: name
) -> T:
    """Read a config file into its dataclass.

    Args:
        config_type: The frozen dataclass.
        path: The YAML file.
        command: The subcommand that reads it; a file made for another one is refused.
        current: Gives the name that a key has now.

    Returns:
        The config, with defaults for the keys that the file leaves out.

    Raises:
        ConfigError: With every error of the file, each with its line.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for key, node in _mapping(path):
        if key.value == "command":
            if command is not None and node.value != command:
                problems.append(
                    f"line {node.start_mark.line + 1}: this file is for `unweave {node.value}`, not `unweave {command}`"
                )
            continue
        _read_field(config_type, key, node, values, problems, current)
    missing = [
        field.name
        for field in dataclasses.fields(config_type)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and field.name not in values
    ]
    problems += [f"the key '{name}' is missing" for name in missing]
    if problems:
        raise ConfigError(
            "The config has errors:",
            lines=[f"- {problem}" for problem in problems],
            where=str(path),
            remedy="mend these lines",
        )
    config = config_type(**values)
    require_in_range(config, where=str(path))
    return config


def _mapping(path: Path) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    """The top-level pairs of a YAML file, with their marks."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError as error:
        raise ConfigError("Config file not found.", where=str(path), remedy="check the path") from error
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise ConfigError("The config is not a text file.", where=str(path), remedy="give a YAML file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            f"Not valid YAML: {getattr(error, 'problem', error)}.", where=f"{path}{line}", remedy="mend the line"
        ) from error
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            "A config is a mapping of option to value.", where=f"{path}:1", remedy="write `option: value` lines"
        )
    return root.value


def _read_field(
    config_type: type,
    key: yaml.Node,
    node: yaml.Node,
    values: dict[str, Any],
    problems: list[str],
    current: Callable[[str], str],
) -> None:
    """Check one pair and put it into `values`, or say in `problems` why not."""
    hints = _hints(config_type)
    known = {field.name for field in dataclasses.fields(config_type)}
    name = current(str(getattr(key, "value", "")).replace("-", "_"))
    line = key.start_mark.line + 1
    if name not in known:
        problems.append(f"line {line}: unknown key '{name}'; {nearest(name, known)}")
        return
    if name in values:
        problems.append(f"line {line}: the key '{name}' stands twice")
        return
    try:
        values[name] = _convert(hints[name], node)
    except ValueError as error:
        problems.append(f"line {node.start_mark.line + 1}: {name}: {error}")


def _convert(hint: Any, node: yaml.Node) -> Any:
    """The node's value as `hint` asks; a ValueError says what was expected."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is typing.Annotated:
        mark = choices_of(hint)
        return _convert(typing.Literal[mark.names] if mark else arguments[0], node)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, node)
    if origin is typing.Literal:
        if isinstance(node, yaml.ScalarNode) and node.value in arguments:
            return node.value
        raise ValueError(f"'{_shown(node)}' is not one of {', '.join(map(str, arguments))}")
    if origin in (tuple, list):
        if not isinstance(node, yaml.SequenceNode):
            raise ValueError("expected a list")
        items = [_convert(arguments[0], item) for item in node.value]
        return tuple(items) if origin is tuple else items
    if origin is dict:
        if not isinstance(node, yaml.MappingNode):
            raise ValueError("expected `key: value` pairs")
        return {str(key.value): _convert(arguments[1], item) for key, item in node.value}
    return _convert_scalar(hint, node)


def _convert_union(options: tuple[Any, ...], node: yaml.Node) -> Any:
    if type(None) in options and isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
        return None
    errors = []
    for option in options:
        if option is not type(None):
            try:
                return _convert(option, node)
            except ValueError as error:
                errors.append(str(error))
    raise ValueError(errors[0])


def _convert_scalar(hint: Any, node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"expected one {getattr(hint, '__name__', hint)}")
    text = node.value
    if hint is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ValueError(f"expected true or false, got '{text}'")
    if hint in (int, float):
        try:
            return hint(text.replace("_", ""))
        except ValueError:
            raise ValueError(f"expected {'a whole number' if hint is int else 'a number'}, got '{text}'") from None
    if "\0" in text:
        raise ValueError("a text with a null character")
    return Path(text) if hint is Path else text


def _shown(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else type(node).__name__
