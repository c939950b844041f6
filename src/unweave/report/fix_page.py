"""The page of `unweave fix`: the bad answer, the rows that it comes from, what was decided, what it cost, and whether it is gone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unweave.files import write_text
from unweave.report.pages import environment


def write_fix_page(path: Path, result: Mapping[str, Any], rows: Mapping[str, tuple[str, str]]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        result: What each step found, up to where the run ended.
        rows: Row id to prompt and completion.
    """
    chosen = set(result.get("forget", result.get("proposed", {})))
    shares = {one["row"]: one["why"]["shares"] for one in result.get("found", {}).get("proposals", [])}
    levels = {one["row"]: one["level"] for one in result.get("found", {}).get("proposals", [])}
    levels |= {one["row"]: one["level"] for one in result["trace"]["hits"]}
    proposed = [
        {
            "id": row_id,
            "why": why,
            "level": levels.get(row_id),
            "shares": shares.get(row_id, {}),
            "text": rows.get(row_id, ("", "")),
            "forget": row_id in chosen,
        }
        for row_id, why in result.get("proposed", {}).items()
    ]
    added = [row_id for row_id in result.get("forget", []) if row_id not in result.get("proposed", {})]
    page = environment().get_template("fix.html")
    write_text(
        path,
        page.render(
            result=result,
            hits=[{**one, "text": rows.get(one["row"], ("", ""))} for one in result["trace"]["hits"]],
            proposed=proposed,
            added=[(row_id, rows.get(row_id, ("", ""))) for row_id in added],
            exposed=[{**one, "text": rows.get(one["row"], ("", ""))} for one in result.get("collateral", [])],
        ),
    )
