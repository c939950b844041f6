"""Results as frames of pandas, which is not needed for anything else."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unweave.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas


def frame(columns: Mapping[str, Sequence[Any]], *, index: str | None = None) -> "pandas.DataFrame":
    """A frame of columns.

    Args:
        columns: Name to values, all of one length.
        index: The column that names the rows.

    Returns:
        The frame.

    Raises:
        MissingExtraError: When pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", extra="datasets", purpose="A table") from error
    made = pandas.DataFrame(dict(columns))
    return made if index is None else made.set_index(index)
