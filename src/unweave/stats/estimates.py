"""A number with its interval, and the quantiles that intervals reach to."""

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: The estimate.
        low: Lower end of the 95 % interval.
        high: Upper end.
        count: Rows it rests on.
    """

    value: float
    low: float
    high: float
    count: int

    def to_json(self) -> dict[str, float | int]:
        """As a JSON object."""
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}

    def within(self, least: float, most: float) -> "Estimate":
        """The same with an interval that ends where the number's range does.

        Args:
            least: The smallest value that is possible.
            most: The largest.

        Returns:
            The estimate; ends that are NaN stay so.
        """
        return replace(self, low=float(np.maximum(self.low, least)), high=float(np.minimum(self.high, most)))


NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0)


def normal_quantile(level: float) -> float:
    """How many standard deviations a two-sided interval of a normal variable reaches.

    Args:
        level: Of the interval.

    Returns:
        1.96 for 0.95.
    """
    return NormalDist().inv_cdf((1 + level) / 2)


def student_quantile(level: float, freedom: float) -> float:
    """How many standard errors a two-sided interval reaches where the spread is estimated.

    Args:
        level: Of the interval.
        freedom: Degrees of freedom.

    Returns:
        2.26 for 0.95 and 9.
    """
    # Student's quantile itself, as scipy.stats has it; scipy.stats would take half a second to import, and every interval of a mean comes by here.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
