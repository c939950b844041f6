"""The files of a comparison of forgetting methods."""

from pathlib import Path
from typing import Any

from unweave.experiments.bench.page import write_bench_page
from unweave.experiments.bench.summary import markdown
from unweave.files import write_json, write_text


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """Write `results.json`, `table.md` and `report.html`.

    Args:
        folder: Where to.
        results: From `summarise`.
    """
    write_json(folder / "results.json", results)
    write_text(folder / "table.md", markdown(results) + "\n")
    write_bench_page(folder / "report.html", results)
