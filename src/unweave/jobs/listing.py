"""`unweave methods`."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ListMethods:
    """List the unlearning methods."""


def list_methods(_: ListMethods) -> list[dict[str, Any]]:
    """The unlearning methods.

    Returns:
        What `describe_methods` says of each.
    """
    from unweave.unlearning.describe import describe_methods

    return describe_methods()
