"""A histogram of the scores of all rows, as the numbers that a page draws."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

BINS, WIDTH, HEIGHT = 72, 720.0, 90.0


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram, in the units of its drawing.

    Attributes:
        x: Its left edge.
        y: Its upper edge.
        width: Its width.
        height: Its height.
        count: Rows in it.
        low: The smallest score that it counts.
        high: The score below which it counts.
    """

    x: float
    y: float
    width: float
    height: float
    count: int
    low: float
    high: float


@dataclass(frozen=True)
class Histogram:
    """A histogram of scores.

    Attributes:
        bars: Its bars that hold rows.
        low: The score at the left edge.
        high: The score at the right edge.
        zero: Where 0 lies; `None` where it lies outside.
    """

    bars: tuple[Bar, ...]
    low: float
    high: float
    zero: float | None
    width: float = WIDTH
    height: float = HEIGHT

    def place(self, score: float) -> float:
        """Where a score lies.

        Args:
            score: The score.

        Returns:
            From 0 to the width.
        """
        share = (score - self.low) / (self.high - self.low)
        return round(min(1.0, max(0.0, share)) * self.width, 2)


def make_histogram(scores: Collection[float]) -> Histogram:
    """Count scores. Bars grow with the root of their count, so that single rows at the end are seen.

    Args:
        scores: The scores of all rows, one at least.

    Returns:
        The histogram.
    """
    values = np.asarray(list(scores), dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    tallest, width = float(np.sqrt(counts.max())), WIDTH / BINS
    bars = []
    for place, count in enumerate(counts.tolist()):
        if count:
            height = max(2.0, HEIGHT * float(np.sqrt(count)) / tallest)
            bars.append(
                Bar(
                    round(place * width, 2), round(HEIGHT - height, 2), round(width - 1, 2), round(height, 2), count,
                    float(edges[place]), float(edges[place + 1]),
                )
            )  # fmt: skip
    zero = WIDTH * -low / (high - low) if low <= 0 <= high else None
    return Histogram(tuple(bars), low, high, zero)
