"""`unweave request add`: what was found is shown before anything is written, and whoever sits at a terminal is asked."""

from typing import Any

from unweave import terminal
from unweave.cli.show.request import show_preview
from unweave.errors import ConfigError
from unweave.ledger.adding import write_request
from unweave.ledger.config import AddConfig
from unweave.ledger.preparing import prepare_request


def add_request(config: AddConfig) -> dict[str, Any]:
    """Add a request; rows that were searched for by meaning are shown first.

    Args:
        config: Rows, kind, reason.

    Returns:
        As the library's `add_request`; of a preview, and where the answer was no, what would have been added.

    Raises:
        ConfigError: When nobody can be asked, and neither `preview` nor `yes` is given.
    """
    prepared = prepare_request(config)
    if config.preview:
        return prepared.shown()
    if config.yes or all(one is None for one in (config.text, config.near, config.person)):
        return write_request(prepared)
    if not terminal.can_ask():
        raise ConfigError(
            f"{len(prepared.selection.rows)} row(s) were found by what they say, and nobody can be asked whether these are meant.",
            where="`preview`, `yes`",
            remedy="look at them with `preview`, then say `yes`",
        )
    show_preview(prepared.shown())
    if not terminal.ask(f"Add a request for these {len(prepared.selection.rows)} row(s)?"):
        return prepared.shown() | {"declined": True}
    return write_request(prepared)
