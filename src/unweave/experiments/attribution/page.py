"""The files of the suite: `results.json`, `table.md`, and the page, one file without script or remote request."""

from collections.abc import Mapping
from pathlib import Path

from unweave.experiments.attribution.scorers import is_baseline
from unweave.experiments.attribution.summary import Column, Table
from unweave.files import write_json, write_text
from unweave.markdown import code, plain
from unweave.report.pages import environment
from unweave.stats.intervals import Estimate

COSTS = ("seconds", "CPU seconds", "MiB at most", "KiB on disk")
WITHOUT_SEEDS = "one seed: intervals are over queries, and over retrained models where there are some"


def write_results(folder: Path, table: Table, *, page: bool = True) -> None:
    """Write the files.

    Args:
        folder: Where to.
        table: The result.
        page: Whether to write the page too.
    """
    write_json(folder / "results.json", table.to_json())
    write_text(folder / "table.md", markdown(table) + "\n")
    if page:
        write_page(folder / "report.html", table)


def cells(table: Table, *, intervals: bool = True) -> tuple[list[str], list[list[str]]]:
    """The table as text, for all that show it.

    Args:
        table: The result.
        intervals: Whether numbers have theirs.

    Returns:
        Titles and rows: scorers in their order, then references without costs.
    """
    header = ["scorer", *(one.figure.title for one in table.columns), *COSTS]
    rows = []
    for name, own in table.cells.items():
        cost = table.costs[name]
        costs = [f"{cost.seconds:.1f}", _tenths(cost.cpu_seconds), _whole(cost.peak_mib), _whole(cost.bytes / 1024)]
        rows.append([name, *_shown(table, own, intervals), *costs])
    rows += [[name, *_shown(table, own, intervals), "", "", "", ""] for name, own in table.references.items()]
    return header, rows


def _tenths(value: float) -> str:
    return f"{value:.1f}" if value == value else ""


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value == value else ""


def _shown(table: Table, own: Mapping[str, Estimate], intervals: bool) -> list[str]:
    return [shown(one, own.get(one.key), intervals=intervals) for one in table.columns]


def shown(column: Column, estimate: Estimate | None, *, intervals: bool = True) -> str:
    """A number as its figure is shown.

    Args:
        column: The figure.
        estimate: The number; `None` where there is none.
        intervals: Whether with its interval, where it has one.

    Returns:
        Text.
    """
    if estimate is None or estimate.value != estimate.value:
        return ""
    value, low, high = (f"{end:.{column.figure.digits}f}" for end in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]" if intervals and estimate.low == estimate.low and low != high else value


def markdown(table: Table) -> str:
    """The table as Markdown, scorers down and figures across.

    Args:
        table: The result.

    Returns:
        Its lines.
    """
    header, rows = cells(table)
    lines = ["| " + " | ".join(map(plain, header)) + " |", "|---|" + "---:|" * (len(header) - 1)]
    for row in rows:
        name = code(row[0], cell=True) if row[0] in table.cells else f"*{plain(row[0])}*"
        lines.append("| " + " | ".join([name, *map(plain, row[1:])]) + " |")
    return "\n".join(lines)


def write_page(path: Path, table: Table) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        table: The result.
    """
    from markupsafe import Markup

    from unweave.report.attribution_plots import figures_by_scorer, removal_curves

    more = [one for one in table.columns if one.measure != "sanity"]
    panels = [
        (
            one.figure.title,
            {name: own[one.key] for name, own in table.cells.items() if one.key in own},
            table.references.get("chance", {}).get(one.key),
        )
        for one in more
    ]
    template = environment().get_template("attribution.html")
    names = [name for name in table.cells if is_baseline(name)]
    page = template.render(
        table=table,
        figure=Markup(figures_by_scorer(panels, names)) if table.cells else "",
        curves=Markup(removal_curves(table.curves)) if table.curves else "",
        grid=cells(table),
        baselines=names,
        one_seed=WITHOUT_SEEDS if len(table.config["seeds"]) == 1 else "",
    )
    write_text(path, page)
