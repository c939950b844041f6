"""What all plots share: colours, how names are written, and a figure as SVG text."""

import io
import warnings
from typing import Any

from unweave.visible import one_line

INK, GRID = "#1f2933", "#d8dee6"
COLORS = {"before": "#b3402a", "after": "#1f6f8b", "retrained": "#7a7f87"}
LONGEST_LABEL = 60


def as_label(text: str) -> str:
    """A name as matplotlib writes it as it is: a dollar sign begins no formula, no name is left out of a legend, no length squeezes the plot.

    Args:
        text: The name.

    Returns:
        What to give to matplotlib.
    """
    shown = one_line(text)
    shown = shown if len(shown) <= LONGEST_LABEL else shown[: LONGEST_LABEL - 1] + "…"
    return (" " if shown[:1] in ("", "_") else "") + shown.replace("$", r"\$")


def new_figure(*, width: float = 7.4, height: float = 3.0) -> tuple[Any, Any]:
    """An empty figure with one pair of axes.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        The figure and its axes.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {"font.size": 9, "axes.edgecolor": GRID, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return figure, axes


def as_svg(figure: Any) -> str:
    """The figure as an element: text stays text, and ids are the same on every run.

    Args:
        figure: From `new_figure`.

    Returns:
        An SVG element.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unweave", "font.family": "sans-serif"}),
        warnings.catch_warnings(),
    ):
        # The page's own fonts write the text.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
