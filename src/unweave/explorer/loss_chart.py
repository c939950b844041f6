"""Losses of an attempt at forgetting as lines: where they lie in a picture. The template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from unweave.explorer.following import Losses

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 96, 14, 36
TICKS = 4


@dataclass(frozen=True)
class Line:
    """A line of the chart.

    Attributes:
        name: Of what, which is also its class.
        points: Places in the picture.
        last: The last value, as it is written at the line's end.
    """

    name: str
    points: list[tuple[float, float]]
    last: str

    @property
    def path(self) -> str:
        """The places as SVG writes them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Chart:
    """The picture of an attempt.

    Attributes:
        lines: Of the rows to forget, and those to keep.
        up: Marks of the losses: places from above, and what they say.
        across: Marks of the steps: places from the left, and what they say.
        target: Where the target lies, from above; `None` without one.
        words: All of it in a sentence.
    """

    lines: list[Line]
    up: list[tuple[float, str]]
    across: list[tuple[float, str]]
    target: float | None
    words: str


def chart_of(points: Sequence[Losses]) -> Chart | None:
    """Draw an attempt.

    Args:
        points: Its measurements.

    Returns:
        The chart; `None` before there are two measurements.
    """
    target = next((point.target for point in points if point.target is not None), None)
    values = [value for point in points for value in (point.forget, point.retain) if value is not None]
    if len(points) < 2 or not values:
        return None
    top = max([*values, target or 0.0])
    marks = _marks(top)
    high, last = max(marks[-1], top), points[-1].step

    def across(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, last)

    def up(loss: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - loss / high)

    lines, said = [], []
    for name, words in (("forget", "rows to forget"), ("retain", "rows to keep")):
        own = [(point.step, value) for point in points if (value := getattr(point, name)) is not None]
        if own:
            lines.append(Line(name, [(across(step), up(loss)) for step, loss in own], f"{own[-1][1]:.2f}"))
            said.append(f"{words} from {own[0][1]:.2f} to {own[-1][1]:.2f}")
    steps = sorted({round(last * number / TICKS) for number in range(TICKS + 1)})
    return Chart(
        lines,
        [(up(mark), f"{mark:g}") for mark in marks],
        [(across(step), str(step)) for step in steps],
        None if target is None else up(target),
        f"Mean loss up to step {last}, in nats a token: {', '.join(said)}"
        + (f"; the target is {target:.2f}" if target is not None else ""),
    )


def _marks(top: float) -> list[float]:
    """Round numbers from 0 up to a value."""
    rough = max(top, 1e-6) / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [round(step * number, 10) for number in range(ceil(top / step) + 1)]
