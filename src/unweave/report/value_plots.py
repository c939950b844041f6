"""Plots of values: how they are distributed, one against another, and what training on the best rows gives."""

from collections.abc import Sequence
from typing import Any

from unweave.report.figures import COLORS, GRID, as_label, as_svg, new_figure


def histogram(values: Sequence[float], *, label: str) -> str:
    """How values are distributed; those below zero in another colour.

    Args:
        values: The values.
        label: Of the axis.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(width=4.6, height=2.8)
    low, high = min(*values, 0.0), max(*values, 0.0)
    width = (high - low) / 40 or 1.0
    # Bins meet at zero, so that none holds both kinds.
    edges = [width * step for step in range(int(low // width), int(high // width) + 2)]
    for sign, color in ((-1, COLORS["before"]), (1, COLORS["after"])):
        own = [value for value in values if (value >= 0) == (sign > 0)]
        axes.hist(own, bins=edges, color=color)
    axes.set(xlabel=as_label(label), ylabel="rows")
    return as_svg(figure)


def scatter(across: Sequence[float], up: Sequence[float], label: str, other: str) -> str:
    """One number against another.

    Args:
        across: To the right.
        up: Upwards.
        label: Of the axis to the right.
        other: Of the other.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(width=4.6, height=2.8)
    axes.plot(across, up, "o", markersize=2.5, alpha=0.5, color=COLORS["after"], rasterized=len(across) > 2000)
    axes.set(xlabel=as_label(label), ylabel=as_label(other))
    return as_svg(figure)


def learning_curves(points: Sequence[dict[str, Any]], before: float) -> str:
    """Held-out loss after training on the best rows of each score.

    Args:
        points: As `unweave.jobs.value_curve` writes them.
        before: The loss before training.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(width=7.4, height=3.2)
    axes.axhline(before, color=GRID, linewidth=1, label="before training")
    for name in dict.fromkeys(point["column"] for point in points):
        own = sorted((point for point in points if point["column"] == name), key=lambda point: point["share"])
        rows = [point["rows"] for point in own]
        axes.plot(rows, [point["loss"]["value"] for point in own], "o-", markersize=4, label=as_label(name))
        if all(len(point["by_seed"]) > 1 for point in own):
            ends = [[extreme(point["by_seed"]) for point in own] for extreme in (min, max)]
            axes.fill_between(rows, *ends, alpha=0.15)
    axes.set(xlabel="rows trained on", ylabel="held-out loss, nats a token")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return as_svg(figure)
