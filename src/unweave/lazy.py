"""Public names of a package that are imported when first used, so that reading options or `--help` loads no torch."""

import importlib
from collections.abc import Callable
from typing import Any


def resolve(name: str) -> Any:
    """Import what a name stands for.

    Args:
        name: `module:function`.

    Returns:
        The function.
    """
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def lazy_names(package: str, homes: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make `__getattr__`, `__dir__` and `__all__` of a package (PEP 562).

    Args:
        package: The package's `__name__`.
        homes: Public name to the module that defines it, or to `module:` where it is that module. Another name must not be that of a submodule, which the
            import would put in its place.

    Returns:
        The three, in that order.
    """

    def get(name: str) -> Any:
        if name in homes:
            module, colon, _ = homes[name].partition(":")
            found = importlib.import_module(module)
            return found if colon else getattr(found, name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return get, lambda: sorted(homes), list(homes)
