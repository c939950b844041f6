"""What was tried to carry a request out, as its folder keeps it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.files import read_record_if_any

FILE = "attempts.json"


@dataclass(frozen=True)
class Tried:
    """An attempt that was made.

    Attributes:
        method: Its method.
        options: Its options.
        seconds: What it took, measuring included.
        figures: Criterion to figure after it; empty where it failed.
        unmet: The criteria that it does not meet.
        reason: Why it ended early, or failed; `None` where it made all its steps.
    """

    method: str
    options: dict[str, Any]
    seconds: float
    figures: dict[str, float]
    unmet: list[str]
    reason: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it left no model."""
        return not self.figures


def chosen_attempt(folder: Path) -> Tried | None:
    """The attempt that a request's adapter is of.

    Args:
        folder: The request's folder.

    Returns:
        The attempt; `None` of a request of before attempts were kept.
    """
    kept = read_tried(folder)
    return Tried(**kept["tried"][kept["chosen"]]) if kept else None


def read_tried(folder: Path) -> dict[str, Any] | None:
    """All attempts of a request, and which one was kept.

    Args:
        folder: The request's folder.

    Returns:
        `tried` and `chosen`; `None` of a request of before attempts were kept.
    """
    return read_record_if_any(folder / FILE, what="What was tried")
