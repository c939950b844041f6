"""How many rows were missed, by capture and recapture: two ways of looking that know nothing of each other catch some of the same rows.

Chapman's estimator of all rows is N = (a + 1)(b + 1) / (c + 1) - 1, with a and b the rows that either way caught and c those that both did; its variance is
Seber's (Biometrics 26, 1970). The interval is that of the number not caught, taken as log-normal (Chao, Biometrics 43, 1987), so that it does not reach
below what was caught.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from unweave.stats.estimates import normal_quantile

FEWEST = 7
"""Rows that both ways caught, from which on the estimator's bias is small (Seber, The Estimation of Animal Abundance, 1982)."""


@dataclass(frozen=True)
class Missed:
    """How many rows were missed, by estimate.

    Attributes:
        count: The estimate; `None` where it can't be said.
        low: Lower end of the 95 % interval.
        high: Upper end.
        first: Rows that the one way of looking caught.
        second: Rows that the other caught.
        both: Rows that both caught.
        reason: Why it can't be said; empty where it can.
    """

    count: float | None
    low: float | None
    high: float | None
    first: int
    second: int
    both: int
    reason: str = ""

    def in_words(self) -> str:
        """The estimate in words."""
        if self.count is None or self.low is None or self.high is None:
            return f"how many were missed can't be said: {self.reason}"
        return (
            f"about {self.count:.0f} more may have been missed, 95 % interval {self.low:.0f} to {self.high:.0f} (gradients caught {self.first}, texts "
            f"{self.second}, both {self.both}; rows that are hard to find for both are not in this number)"
        )


def estimate_missed(first: Collection[str], second: Collection[str], *, found: int, most: int) -> Missed:
    """Estimate how many rows were missed.

    Args:
        first: The rows that one way of looking caught.
        second: The rows that another caught.
        found: The rows that were found in all: those are not missed.
        most: Rows that there are: no more can have been missed beside those found.

    Returns:
        The estimate. Where the two ways find the same rows easy it is too low, and it counts what was caught wrongly as caught.
    """
    a, b, c = len(set(first)), len(set(second)), len(set(first) & set(second))
    if not min(a, b):
        return Missed(None, None, None, a, b, c, "one of the two ways of looking, gradients and texts, found nothing")
    if c < FEWEST:
        words = f"gradients and texts have found only {c} of the same rows ({a} and {b}), and {FEWEST} would be needed"
        return Missed(None, None, None, a, b, c, words)
    total = (a + 1) * (b + 1) / (c + 1) - 1
    variance = (a + 1) * (b + 1) * (a - c) * (b - c) / ((c + 1) ** 2 * (c + 2))
    caught = a + b - c
    unseen = max(0.0, total - caught)
    factor = (
        math.exp(normal_quantile(0.95) * math.sqrt(math.log1p(variance / unseen**2))) if unseen and variance else 1.0
    )

    def left(count: float) -> float:
        return float(min(most, max(0.0, caught + count - found)))

    return Missed(left(unseen), left(unseen / factor), left(unseen * factor), a, b, c)
