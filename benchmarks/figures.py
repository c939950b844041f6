"""How benchmarks sum up repeated measurements."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def over_seeds(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation (NaN for one seed), minimum and maximum."""
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return {"mean": statistics.fmean(values), "sd": deviation, "min": min(values), "max": max(values)}
