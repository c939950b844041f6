"""How far to go along an edit of the parameters: until the forget rows are as unlikely as they should be."""

from collections.abc import Callable
from dataclasses import dataclass

TOLERANCE = 0.05
MOST = 8


@dataclass(frozen=True)
class Stop:
    """A point on the way along an edit.

    Attributes:
        scale: Factor of the edit.
        forget_loss: Mean l(z) of the forget rows there, nats a token.
        retain_loss: The same of the retain rows.
    """

    scale: float
    forget_loss: float
    retain_loss: float


def along_to_target(
    measure: Callable[[float], Stop], target: float, *, first: float, max_retain_increase: float
) -> list[Stop]:
    """Find the factor of an edit at which the forget rows reach a loss, within 5 %: secants, inside a bracket as soon as there is one.

    Args:
        measure: Factor to losses.
        target: The loss.
        first: The factor to try first.
        max_retain_increase: A point at which the retain rows' loss has grown by more than this is too far, whatever the forget rows' loss.

    Returns:
        The points measured, at most eight, that of factor 0 first and the one to take last: the nearest to the target from below where none is within
        the tolerance; factor 0 itself where no harmless point is nearer.
    """
    start = measure(0.0)
    points, low, high, scale = [start], start, None, first
    best = start
    while low.forget_loss < target * (1 - TOLERANCE) and len(points) < MOST:
        point = measure(scale)
        points.append(point)
        unharmed = point.retain_loss - start.retain_loss <= max_retain_increase
        if unharmed and point.forget_loss <= target * (1 + TOLERANCE):
            low = point
            best = max(best, low, key=lambda one: one.forget_loss)
        else:
            high = point
        scale = _next(start, low, high, target)
    return [*(point for point in points if point is not best), best]


def without_ruin(measure: Callable[[float], Stop], *, first: float, max_retain_increase: float) -> list[Stop]:
    """Halve the factor of an edit until the retain rows stand it.

    Args:
        measure: Factor to losses.
        first: The factor asked for.
        max_retain_increase: How much the retain rows' loss may grow.

    Returns:
        The points measured, at most eight, that of factor 0 first and the one to take last: factor 0 itself where none is harmless.
    """
    start = measure(0.0)
    points = [start]
    for halvings in range(MOST - 1):
        points.append(measure(first / 2**halvings))
        if points[-1].retain_loss - start.retain_loss <= max_retain_increase:
            return points
    return [*points[1:], start]


def _next(start: Stop, low: Stop, high: Stop | None, target: float) -> float:
    if high is None:
        risen = low.forget_loss - start.forget_loss
        wanted = low.scale * (target - start.forget_loss) / risen if risen > 0 else float("inf")
        return min(max(wanted, 1.5 * low.scale), 8 * low.scale)
    width = high.scale - low.scale
    risen = high.forget_loss - low.forget_loss
    share = (target - low.forget_loss) / risen if risen > target - low.forget_loss else 0.5
    return low.scale + min(max(share, 0.1), 0.9) * width
