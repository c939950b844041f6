"""The screen *Review*: ticked rows, what forgetting them would cost, and its start."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse

from unweave.explorer.pages import page, workspace_of

router = APIRouter()


@router.get("/review")
def show(request: Request) -> HTMLResponse:
    """The screen."""
    return page(request, "review.html")


@router.post("/review/tick")
def tick(
    request: Request,
    rows: Annotated[list[str], Body()],
    why: Annotated[str, Body()] = "ticked",
    ticked: Annotated[bool, Body()] = True,
) -> dict[str, int]:
    """Put rows on the review list, or take them off.

    Args:
        request: The request.
        rows: Their ids; each must be in the store.
        why: For the list.
        ticked: On or off.

    Returns:
        How many rows are on the list.
    """
    workspace = workspace_of(request)
    if not ticked:
        return {"count": workspace.reviewed.remove(rows)}
    return {"count": workspace.reviewed.add({workspace.row(row).id: why for row in rows})}
