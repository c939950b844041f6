"""The screen *Review*: ticked rows, those like them, what forgetting them would cost, and its start."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse

from unweave.errors import ConfigError
from unweave.explorer import requests
from unweave.explorer.pages import go_to, page, workspace_of
from unweave.explorer.reckoned import COST, REST, cost_of, last_of, rest_of
from unweave.explorer.workspace import Workspace
from unweave.ledger.ledger import Ledger

router = APIRouter()


@router.get("/review")
def show(request: Request) -> HTMLResponse:
    """The screen."""
    workspace = workspace_of(request)
    why, texts = workspace.reviewed.why(), workspace.texts()
    there = [row_id for row_id in why if row_id in texts]
    taken = list(Ledger(workspace.ledger).requests()) if workspace.has_ledger else []
    return page(
        request,
        "review.html",
        **_found_before(workspace),
        rows=rows_of(workspace, why),
        gone=[row_id for row_id in why if row_id not in texts],
        sources=Counter(Path(texts[row_id]["source"] or "no file").name for row_id in there).most_common(),
        why=why,
        **requests.how_choices(),
        model=requests.model_to_change(workspace),
        data=workspace.data,
        can_forget=workspace.data is not None or workspace.has_ledger,
        ledger=workspace.ledger,
        store=workspace.place,
        new_name=requests.new_name(taken),
        busy=workspace.processes.running(),
    )


def _found_before(workspace: Workspace) -> dict[str, Any]:
    rest, cost = last_of(workspace, REST), last_of(workspace, COST)
    return {
        "rest": rest,
        "cost": cost,
        "rest_rows": _texts(workspace, rest["proposals"] if rest else ()),
        "cost_rows": _texts(workspace, cost["rows"] if cost else ()),
    }


def _texts(workspace: Workspace, found: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows_of(workspace, [one["row"] for one in found])}


def rows_of(workspace: Workspace, row_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Rows as tables show them.

    Args:
        workspace: What is explored.
        row_ids: Their ids; those that have left the store are left out.

    Returns:
        Id, place, prompt and answer of each.
    """
    texts = workspace.texts()
    return [
        {
            "id": row_id,
            "source": Path(texts[row_id]["source"] or "").name,
            "line": texts[row_id]["line"],
            "prompt": texts[row_id]["prompt"],
            "completion": texts[row_id]["completion"],
        }
        for row_id in row_ids
        if row_id in texts
    ]


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
    return {"count": workspace.reviewed.add({row.id: why for row in workspace.rows(rows)})}


@router.post("/review/rest")
def find_like_these(request: Request) -> HTMLResponse:
    """Find the rows that teach what those on the list teach.

    Args:
        request: The request.

    Returns:
        A part of the page: proposals with their reasons.
    """
    workspace = workspace_of(request)
    found = rest_of(workspace, _listed(workspace))
    return page(
        request,
        "review_rest.html",
        rest=found,
        rest_rows=_texts(workspace, found["proposals"]),
        why=workspace.reviewed.why(),
    )


@router.post("/review/rest/tick")
def tick_all_like_these(request: Request) -> HTMLResponse:
    """Put all proposals on the list, each with its own reason.

    Args:
        request: The request.

    Returns:
        Nothing but the order to load the page again.

    Raises:
        ConfigError: When the store has changed since they were found.
    """
    workspace = workspace_of(request)
    found = last_of(workspace, REST)
    if found is None:
        raise ConfigError("The store has changed since.", where="the proposals", remedy="find them again")
    there = workspace.texts()
    workspace.reviewed.add({one["row"]: one["why"]["words"] for one in found["proposals"] if one["row"] in there})
    return go_to("/review")


@router.post("/review/clear")
def clear(request: Request) -> HTMLResponse:
    """Take all rows off the list.

    Args:
        request: The request.

    Returns:
        Nothing but the order to load the page again.
    """
    reviewed = workspace_of(request).reviewed
    reviewed.remove(reviewed.ids())
    return go_to("/review")


@router.post("/review/cost")
def predict_cost(request: Request) -> HTMLResponse:
    """Predict which rows forgetting those on the list will cost most.

    Args:
        request: The request.

    Returns:
        A part of the page.
    """
    workspace = workspace_of(request)
    found = cost_of(workspace, _listed(workspace))
    return page(request, "review_cost.html", cost=found, cost_rows=_texts(workspace, found["rows"]))


@router.post("/review/forget")
def forget(request: Request, asked: Annotated[requests.Asked, Body()]) -> dict[str, str]:
    """Start forgetting the rows on the list.

    Args:
        request: The request.
        asked: How, and why.

    Returns:
        Where to go on.
    """
    workspace = workspace_of(request)
    return {"location": f"/run?id={requests.start_forgetting(workspace, _listed(workspace), asked).id}"}


def _listed(workspace: Workspace) -> list[str]:
    texts = workspace.texts()
    return [row_id for row_id in workspace.reviewed.ids() if row_id in texts]
