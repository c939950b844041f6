"""How pages are made: templates of this package, escaped, and strict about what they name."""

from typing import Any


def environment() -> Any:
    """A jinja environment for the package's templates.

    Returns:
        The environment.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("unweave.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
