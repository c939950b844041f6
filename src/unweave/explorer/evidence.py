"""The screen *Evidence*: the ledger's requests, what was measured of each, and verifying and undoing them."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse

from unweave.errors import DataError
from unweave.explorer import requests
from unweave.explorer.pages import Id, environment, go_to, page, workspace_of
from unweave.explorer.processes import Run
from unweave.explorer.proof import BEHIND, SETS, answers_of, document_name, own_ids, proof_of, timeline
from unweave.explorer.runs import when
from unweave.explorer.workspace import Workspace
from unweave.files import read_record
from unweave.ledger.config import ListConfig
from unweave.ledger.ledger import Ledger, list_requests
from unweave.ledger.page import render_certificate_page
from unweave.ledger.request import Request as LedgerRequest
from unweave.names import require_name

router = APIRouter()

DOCUMENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""The page of a certificate is one file, and has its style in it."""


@router.get("/evidence")
def show(request: Request) -> HTMLResponse:
    """The screen."""
    workspace = workspace_of(request)
    if not workspace.has_ledger:
        return page(request, "evidence.html", requests=[], events=[], place=workspace.ledger, origin=None, model="")
    ledger = Ledger(workspace.ledger)
    return page(
        request,
        "evidence.html",
        requests=list_requests(ListConfig(ledger=workspace.ledger)),
        events=timeline(ledger.journal.events()),
        place=workspace.ledger,
        origin=ledger.origin(),
        model=ledger.model(),
    )


@router.get("/evidence/request")
def show_request(request: Request, name: Id) -> HTMLResponse:
    """The page of a request.

    Args:
        request: The HTTP request.
        name: The ledger's request.

    Returns:
        The page.
    """
    workspace = workspace_of(request)
    ledger, asked = _request(workspace, name)
    runs = [(run, when(run.started)) for run in workspace.processes.runs() if run.about.get("request") == asked.id]
    return page(
        request,
        "evidence_request.html",
        asked=asked,
        proof=proof_of(ledger, asked),
        ids=own_ids(ledger, asked.rows),
        named=SETS,
        behind=BEHIND,
        there=workspace.texts(),
        undoing=requests.undoing(asked),
        **requests.how_choices(),
        events=timeline(asked.events),
        runs=runs,
        verified=next((one for one in runs if one[0].about.get("kind") == "verify"), None),
        busy=workspace.processes.running(),
        here="/evidence",
    )


@router.post("/evidence/answers")
def show_answers(request: Request, name: Id) -> HTMLResponse:
    """What the models answer to a request's rows, side by side: computed when it is asked for.

    Args:
        request: The HTTP request.
        name: The ledger's request.

    Returns:
        A part of the page.
    """
    workspace = workspace_of(request)
    ledger, asked = _request(workspace, name)
    with workspace.computing:
        answers = answers_of(ledger, asked)
    return page(request, "evidence_answers.html", answers=answers)


@router.get("/evidence/certificate")
def show_certificate(request: Request, name: Id) -> HTMLResponse:
    """The certificate, or the report, as its own page, which prints on one sheet.

    Args:
        request: The HTTP request.
        name: The ledger's request.

    Returns:
        The page.

    Raises:
        DataError: When there is none.
    """
    ledger, asked = _request(workspace_of(request), name)
    document = document_name(asked)
    if document is None:
        raise DataError(f"The request is {asked.state}: there is no certificate.", where=asked.id)
    folder = ledger.request_folder(require_name(asked.id, what="The request's id"))
    text = render_certificate_page(read_record(folder / f"{document}.json", what=f"The {document}"))
    # The file itself is bound by the journal as it is: how it prints is added to what is shown.
    style = environment().get_template("certificate_print.html").render()
    return HTMLResponse(
        text.replace("</head>", f"{style}</head>", 1), headers={"content-security-policy": DOCUMENT_POLICY}
    )


@router.post("/evidence/verify")
def verify(request: Request, name: Id) -> HTMLResponse:
    """Start verifying a request.

    Args:
        request: The HTTP request.
        name: The ledger's request.

    Returns:
        The order to go to the run.
    """
    workspace = workspace_of(request)
    return go_to(_page_of(requests.start_verifying(workspace, _request(workspace, name)[1])))


@router.post("/evidence/go-on")
def go_on(request: Request, name: Id) -> HTMLResponse:
    """Go on with a request whose run was interrupted, as it was begun.

    Args:
        request: The HTTP request.
        name: The ledger's request.

    Returns:
        The order to go to the run.
    """
    workspace = workspace_of(request)
    return go_to(_page_of(requests.start_again(workspace, _request(workspace, name)[1])))


@router.post("/evidence/carry-out")
def carry_out(request: Request, name: Id, asked: Annotated[requests.Asked, Body()]) -> dict[str, str]:
    """Start carrying out a request that is not done.

    Args:
        request: The HTTP request.
        name: The ledger's request.
        asked: How.

    Returns:
        Where to go on.
    """
    workspace = workspace_of(request)
    return {"location": _page_of(requests.start_again(workspace, _request(workspace, name)[1], asked))}


@router.post("/evidence/undo")
def undo(request: Request, name: Id, reason: Annotated[str, Body(embed=True)] = "") -> dict[str, str]:
    """Start rolling a request back, or cancelling it.

    Args:
        request: The HTTP request.
        name: The ledger's request.
        reason: Why, for the record.

    Returns:
        Where to go on.
    """
    workspace = workspace_of(request)
    run = requests.start_undoing(workspace, _request(workspace, name)[1], reason)
    return {"location": _page_of(run)}


def _request(workspace: Workspace, name: str) -> tuple[Ledger, LedgerRequest]:
    ledger = Ledger(workspace.ledger)
    return ledger, ledger.request(name)


def _page_of(run: Run) -> str:
    return f"/run?id={run.id}"
