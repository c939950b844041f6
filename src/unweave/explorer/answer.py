"""The screen *Answer*: ask, and see which rows the answer comes from."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from unweave.explorer.pages import page

router = APIRouter()


@router.get("/")
def show(request: Request) -> HTMLResponse:
    """The screen."""
    return page(request, "answer.html")
