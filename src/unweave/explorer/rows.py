"""The screen *Rows*: all rows of the store in a table of pages, searched, filtered and sorted."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse
from jaxtyping import Bool, Int

from unweave.arguments import shown
from unweave.errors import ConfigError, UnweaveError
from unweave.explorer.pages import link_of, page, workspace_of
from unweave.explorer.search import Search
from unweave.explorer.sql import Answer
from unweave.explorer.sql_table import FIELD
from unweave.explorer.table import RowTable
from unweave.explorer.workspace import Workspace
from unweave.visible import one_line

router = APIRouter()

MOST_TICKED = 10_000
SHOWN = 300
"""Characters of a prompt and an answer in the table; the row's own page has all of them."""


@dataclass(frozen=True)
class Line:
    """A row in the table.

    Attributes:
        id: Its id.
        link: Its page.
        name: The name of its file, and the line.
        place: The whole path of it.
        prompt: The prompt, cut.
        answer: The answer, cut.
        numbers: One a column of numbers.
        field: What stands in the column of the data that is filtered by.
    """

    id: str
    link: str
    name: str
    place: str
    prompt: str
    answer: str
    numbers: list[str]
    field: str


@router.get("/rows")
def show(request: Request) -> HTMLResponse:
    """The screen, or only its table.

    Args:
        request: The request.

    Returns:
        The page.

    Raises:
        UnweaveError: When only the table was asked for and the search can't be made; the whole page says so itself.
    """
    workspace, search = workspace_of(request), Search.parse(request.url.query)
    # What htmx asks for when somebody goes back is a whole page.
    part = "hx-request" in request.headers and "hx-history-restore-request" not in request.headers
    table = workspace.table()
    values: dict[str, Any] = {"search": search, "table": table, "part": part}
    try:
        values |= _found(workspace, table, search)
    except UnweaveError as error:
        if part:
            raise
        said = {
            "message": shown(error.sentence),
            "where": shown(error.where or ""),
            "remedy": shown(error.remedy or ""),
        }
        return page(request, "rows.html", status=400, found="error", **values, **said)
    response = page(request, "rows_found.html" if part else "rows.html", **values)
    query = search.query()
    response.headers["hx-push-url"] = f"/rows?{query}" if query else "/rows"
    return response


@router.post("/rows/tick")
def tick_all(request: Request, query: Annotated[str, Body()], ticked: Annotated[bool, Body()] = True) -> dict[str, int]:
    """Put all rows that a search finds on the review list, or take them off.

    Args:
        request: The request.
        query: The search, as it stands in the address.
        ticked: On or off.

    Returns:
        How many rows these are, and how many are on the list.

    Raises:
        ConfigError: When they are too many.
    """
    workspace, search = workspace_of(request), Search.parse(query)
    ids = matching_ids(workspace, search)
    if len(ids) > MOST_TICKED:
        raise ConfigError(
            f"{len(ids):,} rows match: at most {MOST_TICKED:,} are ticked at once.", remedy="narrow the search"
        )
    reviewed = workspace.reviewed
    count = reviewed.add({row_id: _why(search) for row_id in ids}) if ticked else reviewed.remove(ids)
    return {"rows": len(ids), "count": count}


def matching_ids(workspace: Workspace, search: Search) -> list[str]:
    """All rows that a search finds, in its order.

    Args:
        workspace: What is explored.
        search: The search.

    Returns:
        Their ids; of a SELECT those in its column `id`.
    """
    table = workspace.table()
    return [table.ids[place] for place in matching_places(workspace, search).tolist()]


def matching_places(workspace: Workspace, search: Search) -> Int[np.ndarray, " m"]:
    """All rows that a search finds, in its order, by their places in the store's.

    Args:
        workspace: What is explored.
        search: The search.

    Returns:
        Their places; of a SELECT those of the rows in its column `id`.
    """
    table = workspace.table()
    if search.is_select:
        ids = _selected_ids(table, table.select(search.where))
        return np.array([table.places[row_id] for row_id in ids], dtype=np.int64)
    return table.sorted(search, _inside(workspace, table, search))


def _inside(workspace: Workspace, table: RowTable, search: Search) -> Bool[np.ndarray, " n"] | None:
    found = workspace.positions.inside(search.lasso) if search.lasso else None
    if found is not None and len(found) != len(table):
        raise ConfigError("The store has changed meanwhile.", remedy="load the page again")
    return found


def _found(workspace: Workspace, table: RowTable, search: Search) -> dict[str, Any]:
    """What the template needs of what a search finds."""
    reviewed = set(workspace.reviewed.ids())
    if search.is_select:
        answer = table.select(search.where)
        ids = set(_selected_ids(table, answer))
        at = answer.columns.index("id") if "id" in answer.columns else -1
        lines = [
            (row[at] if at >= 0 and row[at] in ids else None, [_cell(cell) for cell in row]) for row in answer.rows
        ]
        return {
            "found": "select",
            "answer": answer,
            "lines": lines,
            "matches": len(ids),
            "reviewed_ids": reviewed,
            "link": lambda row_id: link_of(row_id, search.query(page=1)),
        }
    found = table.search(search, _inside(workspace, table, search))
    values = table.field_values(search.field) if search.field else None
    return {
        "found": "rows",
        "lines": [_line(table, place, search, values) for place in found.places],
        "reviewed_ids": reviewed,
        "result": found,
        "matches": found.count,
        "most": MOST_TICKED,
        "headers": _headers(table, search),
    }


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else one_line("" if value is None else value)


def _selected_ids(table: RowTable, answer: Answer) -> list[str]:
    if "id" not in answer.columns:
        return []
    at = answer.columns.index("id")
    return list(dict.fromkeys(row[at] for row in answer.rows if isinstance(row[at], str) and row[at] in table.places))


def _headers(table: RowTable, search: Search) -> list[dict[str, Any]]:
    """The columns that can be sorted by: name, title, whether they are numbers, how they are sorted, and where the next click leads."""
    columns = [("id", "id", False), ("source", "file and line", False), ("prompt", "prompt", False)]
    columns += [("answer", "answer", False), *((column.name, column.title, True) for column in table.columns)]
    if search.field:
        columns.append((f"{FIELD}{search.field}", search.field, False))
    made = []
    for name, title, is_number in columns:
        sorted_by = search.sort == name
        # Once up, once down, and then as in the store; numbers begin with the largest.
        first = is_number
        if not sorted_by:
            query = search.query(sort=name, down=first, page=1)
        elif search.down == first:
            query = search.query(sort=name, down=not first, page=1)
        else:
            query = search.query(sort="", down=False, page=1)
        state = ("descending" if search.down else "ascending") if sorted_by else "none"
        made.append({"name": name, "title": title, "is_number": is_number, "state": state, "query": query})
    return made


def _line(table: RowTable, place: int, search: Search, values: list[str | None] | None) -> Line:
    text, row_id = table.text(place), table.ids[place]
    source, line = text["source"] or "", text["line"]
    return Line(
        id=row_id,
        link=link_of(row_id, search.query(page=1)),
        name=f"{source.replace(chr(92), '/').rpartition('/')[2]}:{line}",
        place=f"{source}:{line}",
        prompt=_cut(text["prompt"]),
        answer=_cut(text["completion"]),
        numbers=[shown_number(float(column.values[place])) for column in table.columns],
        field=_cut((values[place] if values else None) or ""),
    )


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def shown_number(value: float) -> str:
    """A number for a table.

    Args:
        value: The number; NaN where there is none.

    Returns:
        Four digits of it.
    """
    return "" if math.isnan(value) else f"{value:.4g}"


def _why(search: Search) -> str:
    """Why rows that are ticked together are on the review list, in a few words."""
    said = [f"“{search.words}”"] if search.words else []
    said += [search.source] if search.source else []
    said += [f"{search.field} = {search.equals}"] if search.field and search.equals else []
    said += [search.where] if search.where else []
    said += ["a region of the map"] if search.lasso else []
    return f"search: {', '.join(said)}" if said else "all rows"
