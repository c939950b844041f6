"""The application: its screens, its files, and what it says of an error."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from unweave.arguments import shown
from unweave.errors import BusyError, UnweaveError
from unweave.explorer import answer, evidence, review, row, rows, runs
from unweave.explorer import map as map_screen
from unweave.explorer.guard import Guard
from unweave.explorer.pages import page
from unweave.explorer.tracing import Tracer
from unweave.explorer.workspace import Workspace

ROUTERS = (
    answer.router,
    rows.router,
    row.router,
    map_screen.router,
    review.router,
    runs.router,
    evidence.router,
)
"""A screen each; a new one is one file and one entry here."""


def make_app(workspace: Workspace) -> FastAPI:
    """The explorer of a workspace.

    Args:
        workspace: What is explored.

    Returns:
        The application, behind its guard.
    """
    app = FastAPI(title="unweave", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.workspace = workspace
    app.state.tracer = Tracer(workspace)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(UnweaveError, _say_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _say_missing)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _say_invalid)  # type: ignore[arg-type]
    app.add_middleware(Guard, host=workspace.config.host, token=workspace.config.token)  # type: ignore[arg-type]
    return app


def _say_error(request: Request, error: UnweaveError) -> HTMLResponse:
    return page(
        request,
        _template(request),
        status=409 if isinstance(error, BusyError) else 400,
        message=shown(error.sentence),
        where=shown(error.where or ""),
        remedy=shown(error.remedy or ""),
    )


def _say_missing(request: Request, error: HTTPException) -> HTMLResponse:
    return page(
        request,
        _template(request),
        status=error.status_code,
        message=str(error.detail),
        where=request.url.path,
        remedy="",
    )


def _say_invalid(request: Request, error: RequestValidationError) -> HTMLResponse:
    first = error.errors()[0]
    return page(
        request,
        _template(request),
        status=422,
        message=f"What was sent can't be used: {first['msg']}.",
        where=".".join(str(name) for name in first["loc"][1:]),
        remedy="",
    )


def _template(request: Request) -> str:
    """A part of a page is answered with a part."""
    return "error_part.html" if request.headers.get("hx-request") or request.headers.get("x-part") else "error.html"
