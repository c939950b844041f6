"""The unlearning methods: one file each, one line each in the registry."""

from unweave.errors import ConfigError, nearest
from unweave.forget.methods import ga, graddiff, rapidun
from unweave.forget.methods.base import Method

METHODS: dict[str, Method] = {method.name: method for method in (rapidun.METHOD, ga.METHOD, graddiff.METHOD)}


def get_method(name: str) -> Method:
    """A method by name.

    Args:
        name: The name.

    Returns:
        The method.

    Raises:
        ConfigError: When there is none of that name.
    """
    if name not in METHODS:
        raise ConfigError(f"Unknown unlearning method '{name}'.", where="--method", remedy=nearest(name, METHODS))
    return METHODS[name]
