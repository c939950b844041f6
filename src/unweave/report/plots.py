"""Plots of a report, as SVG text for the page."""

from collections.abc import Sequence
from typing import Any

from unweave.report.figures import COLORS, INK, as_label, as_svg, new_figure

ENTRY_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22")
"""Of many things side by side: none is like those above. When they are used up, the shape changes."""

SHAPES = "oD^v"
SCORERS = {"trace": "#1f6f8b", "bm25": "#c08a2b", "gradnorm": "#7a7f87", "random": "#b9bec6"}


def before_after(rows: Sequence[dict[str, Any]]) -> str:
    """Shares before and after as dots with 95 % intervals.

    Args:
        rows: From `unweave.evaluation.metrics.summary_rows`; only shares are drawn.

    Returns:
        An SVG element.
    """
    shares = [row for row in rows if row["share"]]
    figure, axes = new_figure(height=0.55 * len(shares) + 0.9)
    names = [name for name in COLORS if name in shares[0]["entry"]]
    for index, row in enumerate(reversed(shares)):
        for offset, name in zip((0.2, 0.0, -0.2), names, strict=False):
            value, (low, high) = row["entry"][name], row["entry"][f"{name}_interval"]
            axes.plot(
                [100 * low, 100 * high], [index + offset] * 2, color=COLORS[name], linewidth=2, solid_capstyle="round"
            )
            axes.plot(
                [100 * value],
                [index + offset],
                "o",
                color=COLORS[name],
                markersize=6,
                label=name if index == 0 else None,
            )
    axes.set_yticks(range(len(shares)), [as_label(row["label"]) for row in reversed(shares)])
    axes.set_xlim(-2, 102)
    axes.set_xlabel("% of prompts (probability: % a token), with 95 % intervals")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, frameon=False)
    return as_svg(figure)


def precision_recall(curves: dict[str, tuple[list[float], list[float]]]) -> str:
    """Precision against recall of each scorer.

    Args:
        curves: Scorer to recalls and precisions.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(width=4.6, height=3.2)
    for name, (recall, precision) in curves.items():
        axes.step(recall, precision, where="post", label=as_label(name), color=SCORERS.get(name, INK), linewidth=2)
    axes.set(
        xlabel="poisoned rows found (recall)",
        ylabel="share of found rows that are poisoned",
        xlim=(0, 1.02),
        ylim=(0, 1.05),
    )
    axes.legend(frameon=False, loc="center left")
    return as_svg(figure)


def weight_histogram(forget: Sequence[float], retain: Sequence[float]) -> str:
    """How weights are spread over rows.

    Args:
        forget: Weights of the forget rows.
        retain: Weights of the retain rows.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(width=4.6, height=3.2)
    top = max(*forget, *retain, 1.0) * 1.05
    bins = [top * step / 24 for step in range(25)]
    axes.hist(
        [list(forget), list(retain)],
        bins=bins,
        label=["forget rows", "retain rows"],
        color=[COLORS["before"], COLORS["after"]],
    )
    axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="weight (mean 1)", ylabel="rows")
    axes.legend(frameon=False)
    return as_svg(figure)


def accuracy_by_task(tasks: dict[str, dict[str, dict[str, float]]]) -> str:
    """Exact answers of each task family, before and after.

    Args:
        tasks: Task to model to estimate.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(height=0.3 * len(tasks) + 0.9)
    names = [name for name in COLORS if name in next(iter(tasks.values()))]
    for index, (_, models) in enumerate(sorted(tasks.items(), reverse=True)):
        for offset, name in zip((0.22, 0.0, -0.22), names, strict=False):
            axes.plot(
                [100 * models[name]["value"]],
                [index + offset],
                "o",
                color=COLORS[name],
                markersize=5,
                label=name if index == 0 else None,
            )
    axes.set_yticks(range(len(tasks)), [as_label(name) for name in sorted(tasks, reverse=True)])
    axes.set_xlim(-2, 102)
    axes.set_xlabel("% right answers on held-out questions")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, frameon=False)
    return as_svg(figure)


def stage_times(seconds: dict[str, float]) -> str:
    """Wall time of each stage.

    Args:
        seconds: Stage to seconds.

    Returns:
        An SVG element.
    """
    names = [name for name in seconds if name != "total"]
    figure, axes = new_figure(height=0.3 * len(names) + 0.7)
    forgetting = ("influence", "weigh", "forget")
    colors = [
        COLORS["after"] if name in forgetting else COLORS["before"] if name == "retrain" else "#c3c9d1"
        for name in names
    ]
    bars = axes.barh([as_label(name) for name in names], [seconds[name] for name in names], color=colors, height=0.7)
    axes.bar_label(bars, labels=[f" {seconds[name]:.1f} s" for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("seconds (blue: what forgetting costs; red: what retraining costs)")
    return as_svg(figure)


def relearning(attacks: dict[str, dict[str, Any]]) -> str:
    """Loss of the unwanted answers while each model relearns.

    Args:
        attacks: Model to its attacks.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(width=5.4, height=3.2)
    for label, own in attacks.items():
        for source, style in (("forget", "-"), ("unrelated", ":")):
            curve = own["relearn"][source]["curve"]
            axes.plot(
                [point["step"] for point in curve],
                [point["loss_unwanted"]["value"] for point in curve],
                style,
                marker="o",
                markersize=4,
                color=COLORS.get(label, INK),
                label=as_label(f"{label}, {source} rows"),
            )
    axes.set(xlabel="steps of relearning", ylabel="loss of unwanted answers, nats a token")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return as_svg(figure)


def trade_off(
    table: Sequence[dict[str, Any]],
    plain: dict[str, dict[str, float]],
    axes_of: dict[str, dict[str, str]],
    measures: dict[str, Any],
) -> str:
    """Forgetting against utility, with intervals over seeds.

    Args:
        table: Entries with their estimates.
        plain: Models that were only measured.
        axes_of: `x` and `y`: measure, and which end is better.
        measures: Name to `unweave.experiments.bench.under_test.Measure`.

    Returns:
        An SVG element.
    """
    from matplotlib.ticker import PercentFormatter

    figure, axes = new_figure(height=4.2)
    for index, row in enumerate(table):
        x, y = (row[axes_of[end]["measure"]] for end in "xy")
        spread = [
            [[own["value"] - own["low"]], [own["high"] - own["value"]]] if own["count"] > 1 else None for own in (x, y)
        ]
        axes.errorbar(
            [x["value"]],
            [y["value"]],
            xerr=spread[0],
            yerr=spread[1],
            fmt=SHAPES[index // len(ENTRY_COLORS) % len(SHAPES)],
            color=ENTRY_COLORS[index % len(ENTRY_COLORS)],
            capsize=2,
            label=as_label(f"{row['entry']}, {row['forget_rows']}"),
        )
    for label, own in plain.items():
        place = [[own[axes_of[end]["measure"]]] for end in "xy"]
        axes.plot(*place, "s", color=COLORS.get(label.partition(",")[0], INK), label=as_label(label))
    ways = {"x": {"low": "left", "high": "right"}, "y": {"low": "down", "high": "up"}}
    for end, own in axes_of.items():
        measure, axis = measures[own["measure"]], getattr(axes, f"{end}axis")
        axis.set_label_text(as_label(f"{measure.title} ({ways[end][own['better']]} is better)"))
        if measure.kind == "share":
            axis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return as_svg(figure)


def break_even(rows: Sequence[int], retraining: Sequence[float], forgetting: dict[str, Sequence[float]]) -> str:
    """The time of forgetting beside that of retraining, over the number of training rows.

    Args:
        rows: Training rows.
        retraining: Seconds of retraining, for each.
        forgetting: Label to the seconds of forgetting, for each.

    Returns:
        An SVG element.
    """
    figure, axes = new_figure(height=3.6)
    axes.plot(rows, retraining, color=INK, label="retraining")
    for label, seconds in forgetting.items():
        axes.plot(rows, seconds, "--", label=as_label(label))
    axes.set(xscale="log", yscale="log", xlabel="training rows", ylabel="seconds")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return as_svg(figure)
