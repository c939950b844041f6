"""What can be seen of a command line only before its options are read."""

from collections.abc import Sequence
from pathlib import Path

from unweave.cli.common import option_value
from unweave.config import read_value
from unweave.errors import ConfigError


def forget(argv: Sequence[str]) -> tuple[type, str]:
    """The options of the method that is named, or that the config file names.

    Args:
        argv: The arguments.

    Returns:
        Their dataclass, and a sentence about the method.
    """
    from unweave.unlearning.config import config_of
    from unweave.unlearning.methods import get_method

    path = option_value(argv, "--config")
    method = get_method(
        option_value(argv, "--method") or (read_value(Path(path), "method") if path else None) or "rapidun"
    )
    return (
        config_of(method),
        f"Take the influence of rows out of a model. {method.name}: {method.summary} ({method.paper}).\n\n"
        "`unweave list methods` lists the methods, `unweave forget --method NAME --help` the options of one.",
    )


def require_row_ids(argv: Sequence[str]) -> None:
    """Refuse `--row-ids` without an id, as of a shell's empty variable: it would be no criterion, and more rows would match, not fewer.

    Args:
        argv: The arguments.

    Raises:
        ConfigError: When it has none.
    """
    after = [argv[place + 1 :] for place, argument in enumerate(argv) if argument.replace("_", "-") == "--row-ids"]
    path = option_value(argv, "--config")
    empty = [
        *(not rest or rest[0].startswith("--") for rest in after),
        bool(path) and read_value(Path(path), "row_ids") == "[]",
    ]
    if any(empty):
        raise ConfigError("No row id is given.", where="--row-ids", remedy="give ids, or leave the option out")
