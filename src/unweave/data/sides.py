"""The two sides of unlearning: rows to forget, and rows to keep."""

from collections.abc import Iterable

from unweave.arguments import quoted
from unweave.errors import DataError


def require_apart(
    forget_ids: Iterable[str], retain_ids: Iterable[str], *, where: str = quoted("forget", "retain")
) -> None:
    """Refuse a row that is on both sides.

    Args:
        forget_ids: The rows to forget.
        retain_ids: Those to keep.
        where: What they came from, for the error.

    Raises:
        DataError: Naming such a row.
    """
    if shared := set(forget_ids) & set(retain_ids):
        raise DataError(
            f"The row '{min(shared)}' is to be forgotten and retained.", where=where, remedy="keep the two sets apart"
        )
