"""The screen *Runs*: long jobs, how far they are, and stopping, cancelling and going on."""

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from unweave.explorer.loss_chart import chart_of
from unweave.explorer.pages import Id, page, workspace_of
from unweave.explorer.processes import Run
from unweave.ledger.ledger import Ledger

router = APIRouter()


@router.get("/runs")
def show(request: Request) -> HTMLResponse:
    """The screen."""
    runs = workspace_of(request).processes.runs()
    return page(request, "runs.html", runs=[(run, when(run.started), lasted(run)) for run in runs])


@router.get("/run")
def show_run(request: Request, name: Id) -> HTMLResponse:
    """The page of a run.

    Args:
        request: The request.
        name: The run's.

    Returns:
        The page, which keeps itself up to date while the run is at work.
    """
    return _page(request, "run.html", workspace_of(request).processes.run(name))


@router.get("/run/part")
def part(request: Request, name: Id) -> HTMLResponse:
    """What of a run's page changes.

    Args:
        request: The request.
        name: The run's.

    Returns:
        A part of the page.
    """
    return _page(request, "run_part.html", workspace_of(request).processes.run(name))


@router.post("/run/stop")
def stop(request: Request, name: Id) -> HTMLResponse:
    """Ask a run to end with the best that it has.

    Args:
        request: The request.
        name: The run's.

    Returns:
        A part of the page.
    """
    return _page(request, "run_part.html", workspace_of(request).processes.stop(name))


@router.post("/run/cancel")
def cancel(request: Request, name: Id) -> HTMLResponse:
    """Interrupt a run.

    Args:
        request: The request.
        name: The run's.

    Returns:
        A part of the page.
    """
    return _page(request, "run_part.html", workspace_of(request).processes.cancel(name))


@router.post("/run/go-on")
def go_on(request: Request, name: Id) -> HTMLResponse:
    """Run what is left of a run.

    Args:
        request: The request.
        name: The run's.

    Returns:
        A part of the page.
    """
    return _page(request, "run_part.html", workspace_of(request).processes.go_on(name))


def _page(request: Request, template: str, run: Run) -> HTMLResponse:
    progress = workspace_of(request).processes.progress(run)
    values: dict[str, Any] = {
        "run": run,
        "progress": progress,
        "chart": chart_of(progress.attempts[-1]) if progress.attempts else None,
        "log": run.output(),
        "outcome": _outcome(request, run),
        "error": run.error() if run.state == "failed" else "",
        "words": [f"unweave {' '.join(command)}" for command in run.commands],
        "began": when(run.started),
        "lasted": lasted(run),
        "here": "/runs",
    }
    return page(request, template, **values)


def _outcome(request: Request, run: Run) -> str:
    """The state of the request that a run has carried out; empty where it has not."""
    name, workspace = run.about.get("request"), workspace_of(request)
    if run.is_running or run.about.get("kind") != "forget" or name is None or not workspace.has_ledger:
        return ""
    found = Ledger(workspace.ledger).requests().get(name)
    return found.state if found else ""


def when(seconds: float | None) -> str:
    """A time for people.

    Args:
        seconds: Since 1970; `None` for none.

    Returns:
        Date and time, UTC.
    """
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def lasted(run: Run) -> str:
    """How long a run took, or has been at work.

    Args:
        run: The run.

    Returns:
        In words; empty for a run that was killed, as nobody knows.
    """
    end = time.time() if run.is_running else run.ended
    return "" if end is None else in_words(end - run.started)


def in_words(seconds: float) -> str:
    """A length of time in words.

    Args:
        seconds: How long.

    Returns:
        Seconds, minutes or hours.
    """
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
