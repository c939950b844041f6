"""How the explorer's pages are made: its own templates and those of reports, escaped, with hidden characters shown."""

from functools import cache
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from jinja2 import ChoiceLoader, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse

from unweave.explorer.workspace import Workspace
from unweave.report.pages import environment as report_environment

Id = Annotated[str, Query(alias="id")]
"""What `?id=` names."""

SCREENS = {
    "/": "Answer",
    "/rows": "Rows",
    "/map": "Map",
    "/review": "Review",
    "/evidence": "Evidence",
    "/runs": "Runs",
}


@cache
def environment() -> Any:
    """The templates of reports with the explorer's before them.

    Returns:
        The jinja environment.
    """
    loader = ChoiceLoader([PackageLoader("unweave.explorer"), PackageLoader("unweave.report")])
    return report_environment().overlay(loader=loader)


def workspace_of(request: Request) -> Workspace:
    """What is explored.

    Args:
        request: A request.

    Returns:
        The workspace.
    """
    return request.app.state.workspace


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or a part of one.

    Args:
        request: What is answered.
        template: Its file.
        status: The HTTP status.
        **values: What the template names.

    Returns:
        The response.
    """
    workspace = workspace_of(request)
    shared = {
        "exact": exact,
        "screens": SCREENS,
        "here": request.url.path,
        "name": workspace.name,
        "count": len(workspace.row_ids()),
        "reviewed": len(workspace.reviewed.ids()) or "",
    }
    return HTMLResponse(environment().get_template(template).render(shared | values), status)


def exact(text: str) -> Any:
    """A text as the value of an attribute, to come back as it is: escaped, but with its hidden characters, which elsewhere are shown.

    Args:
        text: The text.

    Returns:
        What the template puts into the page.
    """
    from markupsafe import Markup, escape

    # A browser reads a carriage return as the end of a line, unless it is written so.
    return Markup(str(escape(text)).replace("\r", "&#13;").replace("\n", "&#10;"))


def link_of(row_id: str, listed: str = "", **more: str) -> str:
    """A row's page.

    Args:
        row_id: Its id.
        listed: The list that it is opened from, as it stands in an address of `/rows`.
        **more: What else its address says.

    Returns:
        The address.
    """
    return "/row?" + urlencode({"id": row_id, **({"list": listed} if listed else {}), **more})


def go_to(place: str) -> HTMLResponse:
    """The order to go elsewhere, for htmx, which does not follow a redirection of what it has asked for.

    Args:
        place: Where to.

    Returns:
        The response.
    """
    return HTMLResponse("", headers={"HX-Redirect": place})
