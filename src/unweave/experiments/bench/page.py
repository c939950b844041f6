"""The page of a comparison of forgetting methods; one file, no script, no remote request."""

from pathlib import Path
from typing import Any

from unweave.experiments.bench.summary import cells, measures_of
from unweave.files import write_text
from unweave.report.pages import environment


def write_bench_page(path: Path, results: dict[str, Any]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        results: From `unweave.experiments.bench.summary.summarise`.
    """
    from markupsafe import Markup

    from unweave.report import plots

    measures = {one.name: one for one in measures_of(results)}
    titles = {name: one.title for name, one in measures.items()}
    figure = Markup(plots.trade_off(results["table"], results["plain"], results["axes"], measures))
    tables = {"results": cells(results), "search": cells(results, search=True)}
    page = environment().get_template("bench.html").render(results=results, figure=figure, tables=tables, titles=titles)
    write_text(path, page)
