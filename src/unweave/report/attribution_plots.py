"""Plots of the evaluation suite of attribution, as SVG text for its page."""

from collections.abc import Mapping, Sequence
from typing import Any

from unweave.report.figures import GRID, INK, as_svg, new_figure
from unweave.report.plots import ENTRY_COLORS, SHAPES
from unweave.stats.intervals import Estimate

BASELINE, OURS = "#c08a2b", "#1f6f8b"
ACROSS = 4


def figures_by_scorer(
    panels: Sequence[tuple[str, Mapping[str, Estimate], Estimate | None]], baselines: Sequence[str]
) -> str:
    """A small plot a figure: scorers down, dots with intervals, and chance as a line.

    Args:
        panels: Title, scorer to estimate, and chance where it is known.
        baselines: Scorers in another colour.

    Returns:
        An SVG element.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for _, cells, _ in panels for name in cells))
    down = -(-len(panels) // ACROSS)
    figure = Figure(figsize=(11, down * (0.2 * len(names) + 0.9)), layout="constrained")
    FigureCanvasSVG(figure)
    for number, (title, cells, chance) in enumerate(panels):
        axes: Any = figure.add_subplot(down, ACROSS, number + 1)
        for place, name in enumerate(reversed(names)):
            if name not in cells or cells[name].value != cells[name].value:
                continue
            own, color = cells[name], BASELINE if name in baselines else OURS
            if own.low == own.low:
                axes.plot([own.low, own.high], [place] * 2, color=color, linewidth=1.5, solid_capstyle="round")
            axes.plot([own.value], [place], "o", color=color, markersize=4)
        if chance is not None and chance.value == chance.value:
            axes.axvline(chance.value, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=8, color=INK, loc="left")
        axes.set_ylim(-0.7, len(names) - 0.3)
        axes.set_yticks(range(len(names)), list(reversed(names)) if number % ACROSS == 0 else [""] * len(names))
        axes.tick_params(length=0, labelsize=7, colors=INK)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(GRID)
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    return as_svg(figure)


def removal_curves(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The rise of the queries' loss against the share of the rows that is removed.

    Args:
        curves: Scorer to `shares`, `found` and `random`.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(height=3.6)
    for number, (name, curve) in enumerate(curves.items()):
        color, shape = ENTRY_COLORS[number % len(ENTRY_COLORS)], SHAPES[number // len(ENTRY_COLORS) % len(SHAPES)]
        across = [100 * share for share in curve["shares"]]
        axes.plot(across, curve["found"], color=color, marker=shape, markersize=4, linewidth=1.2, label=name)
    first = next(iter(curves.values()))
    axes.plot(
        [100 * share for share in first["shares"]],
        first["random"],
        color=INK,
        linestyle=":",
        label="as many random rows",
    )
    axes.set_xlabel("% of the rows removed")
    axes.set_ylabel("rise of the loss, nats a token")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7)
    return as_svg(figure)
