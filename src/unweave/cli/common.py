"""What every command shares: options from a dataclass, a config file for its defaults, results as JSON."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, make_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

from unweave import outputs, progress, terminal
from unweave.arguments import as_options, showing_options
from unweave.cli.help import print_help
from unweave.cli.options import options_of
from unweave.cli.renamed import current_key
from unweave.cli.table import TABLE
from unweave.config import load_yaml, part_of, require_text, texts_of, to_plain
from unweave.errors import UnweaveError
from unweave.files import finite
from unweave.ranges import require_in_range
from unweave.registry import concrete, marked_fields

T = TypeVar("T")
HELP = ("-h", "--help")


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command.

    Attributes:
        config: A YAML file whose values become the defaults of the other options.
        json: Print the result as JSON on standard output.
        quiet: Show no progress.
    """

    config: Path | None = None
    json: bool = False
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Overwriting:
    """Options of a command that has an output folder.

    Attributes:
        overwrite: Empty the output folder of what unweave has written there, whatever run it is of, and begin afresh. Other files stay.
    """

    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Options of a command that may take long.

    Attributes:
        dry_run: Say what it will take (rows, tokens, parameters, bytes, time), and do nothing.
    """

    dry_run: bool = False


def common_of(config_type: type[Any], command: str) -> type[Common]:
    """The options that a command shares with others.

    Args:
        config_type: The frozen dataclass of its own.
        command: Its name.

    Returns:
        Their dataclass.
    """
    has_folder = any(field.name == "output_dir" for field in fields(config_type))
    more = [Overwriting] if has_folder and command in outputs.WRITES else []
    more += [Planned] if command in TABLE and TABLE[command].plan else []
    return make_dataclass("Common", [], bases=(*more, Common), frozen=True, kw_only=True)


def parse(
    config_type: type[T], argv: Sequence[str], *, command: str, description: str, first: str | None = None
) -> tuple[T, Common]:
    """Read a command line into a command's config.

    Args:
        config_type: The frozen dataclass of its options.
        argv: The arguments.
        command: The command.
        description: For `--help`.
        first: For `--help`: the option whose name may be left out where its value comes first.

    Returns:
        The config, and the common options. `--help` prints and exits with 0, a wrong call prints its message and exits with 2.

    Raises:
        SystemExit: In these cases.
    """
    path = option_value(argv, "--config")
    common = common_of(config_type, command)
    # One flat class of both, as the parser would give options of a nested one another name.
    both = make_dataclass(
        config_type.__name__, _chosen_by_name(config_type), bases=(config_type, common), frozen=True, kw_only=True
    )
    default: Any = tyro.MISSING_NONPROP
    if path:
        loaded = load_yaml(config_type, Path(path), command=command, current=partial(current_key, command))
        default = both(**_values(config_type, loaded), config=Path(path))
    said = [*argv, *texts_of(vars(default) if path else {})]
    with terminal.colored(said):
        if any(word in HELP for word in argv):
            print_help(command, description, options_of(config_type, common, default if path else None), first=first)
            raise SystemExit(0)
        parsed = tyro.cli(both, args=list(argv), default=default, prog=f"unweave {command}", description=description)
    progress.begin(parsed.quiet)
    with arguments_as_options(parsed):
        require_text(parsed)
        require_in_range(parsed)
    outputs.overwrite(getattr(parsed, "overwrite", False))
    return part_of(config_type, parsed), part_of(common, parsed)


@contextmanager
def arguments_as_options(*configs: Any) -> Iterator[None]:
    """Call the arguments that the library names, in errors and in what is shown, by the options of the command that they are.

    Args:
        *configs: The command's configs, whose fields are its options.

    Yields:
        Once, for the work.

    Raises:
        UnweaveError: As the work raises it, with its arguments as options.
    """
    names = {field.name for config in configs for field in fields(config)}
    try:
        with showing_options(names):
            yield
    except UnweaveError as error:
        error.what = as_options(error.what, names)
        error.lines = tuple(as_options(line, names) for line in error.lines)
        error.where = error.where and as_options(error.where, names)
        error.remedy = error.remedy and as_options(error.remedy, names)
        raise


def _chosen_by_name(config_type: Any) -> list[Any]:
    """The options whose choices a registry holds, with these choices as a literal type, which the parser knows."""
    marked, hints = marked_fields(config_type), get_type_hints(config_type, include_extras=True)
    return [
        (own.name, concrete(hints[own.name]), field(default=own.default))
        for own in fields(config_type)
        if own.name in marked
    ]


def _values(kind: Any, source: Any) -> dict[str, Any]:
    return {field.name: getattr(source, field.name) for field in fields(kind)}


def option_value(argv: Sequence[str], option: str) -> str | None:
    """The value of an option that must be known before the others can be read.

    Args:
        argv: The arguments.
        option: Its name with dashes.

    Returns:
        The value, or `None`.
    """
    for index, argument in enumerate(argv):
        if argument == option and index + 1 < len(argv):
            return argv[index + 1]
        if argument.startswith(option + "="):
            return argument.partition("=")[2]
    return None


def print_json(value: Any) -> None:
    """Print a result as JSON on standard output.

    Args:
        value: A dataclass, or nested dictionaries and lists.
    """
    terminal.print_json(finite(to_plain(value)))
