"""A case on the terminal."""

from typing import Any

from unweave.cli.show.plain import print_pairs
from unweave.data.case import SPLITS, Case


def show(_: Any, case: Case) -> None:
    """Print how many rows each split has.

    Args:
        case: The case.
    """
    print_pairs(f"case: {case.folder}", _counts(case))


def as_json(_: Any, case: Case) -> dict[str, Any]:
    """The same as JSON.

    Args:
        case: The case.

    Returns:
        A JSON object.
    """
    return {"folder": str(case.folder), "detector": case.detector, "rows": _counts(case)}


def _counts(case: Case) -> dict[str, int]:
    return {split: len(case.rows(split)) for split in SPLITS}
