"""A copy of the explorer to read: one page with all it says inside, that needs no server and asks for nothing."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unweave import progress
from unweave.attribution.hits import Hit
from unweave.attribution.scale import said
from unweave.explorer.pages import environment
from unweave.explorer.tracing import Traced, Tracer
from unweave.explorer.workspace import Workspace
from unweave.files import read_record, write_text
from unweave.ledger.ledger import Ledger
from unweave.ledger.page import render_certificate_page
from unweave.names import fault_of
from unweave.visible import visible

PAGE = "index.html"
MOST_ROWS = 20_000
CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """What a copy holds.

    Attributes:
        page: Its first page.
        rows: Rows of the store in it.
        left_out: Rows that it leaves out, since a page of more is too large to open.
        answers: Questions with the rows that drive their answers.
        requests: Requests of the ledger.
    """

    page: Path
    rows: int
    left_out: int
    answers: int
    requests: int


def export(workspace: Workspace, folder: Path) -> Exported:
    """Write the copy.

    Args:
        workspace: What is explored.
        folder: Where to; made where it is missing.

    Returns:
        What it holds.
    """
    tracer = Tracer(workspace)
    asked = tracer.answers.all()
    answers = []
    with progress.task("trace", len(asked)) as advance:
        for one in asked:
            hits = tracer.hits(Traced(one))
            answers.append(
                {
                    "asked": one,
                    "said": said(hits.stands_out),
                    "sides": [[_hit(hit) for hit in side] for side in (hits.helpful, hits.harmful)],
                }
            )
            advance(1)
    ids = list(workspace.row_ids())
    losses = workspace.index().store.column("losses", ids[:MOST_ROWS]).tolist()
    rows = [_row(workspace.texts()[row_id], loss) for row_id, loss in zip(ids[:MOST_ROWS], losses, strict=True)]
    requests = _requests(workspace, folder)
    script = resources.files("unweave.explorer").joinpath("static/export.js").read_text(encoding="utf-8")
    style = resources.files("unweave.explorer").joinpath("static/explorer.css").read_text(encoding="utf-8")
    data = json.dumps({"rows": rows}, ensure_ascii=True).replace("<", "\\u003c")
    page = (
        environment()
        .get_template("export.html")
        .render(
            name=workspace.name,
            count=len(ids),
            answers=answers,
            requests=requests,
            left_out=len(ids) - len(rows),
            spec=workspace.spec.to_json(),
            script=Markup(script),
            style=Markup(style),
            data=Markup(data),
            policy=f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:",
        )
    )
    write_text(folder / PAGE, page)
    return Exported(folder / PAGE, len(rows), len(ids) - len(rows), len(answers), len(requests))


def export_space(workspace: Workspace, folder: Path) -> Exported:
    """Write the copy as a static Space of the Hugging Face hub: `hf upload OWNER/NAME FOLDER --repo-type space` publishes it.

    Args:
        workspace: What is explored.
        folder: Where to.

    Returns:
        What it holds.
    """
    found = export(workspace, folder)
    front = {"title": f"Training data of {workspace.name}", "sdk": "static", "app_file": PAGE, "pinned": False}
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items()]
    words = "What this model learned from which training rows, as unweave found it. The page needs no server."
    write_text(folder / CARD, "\n".join(["---", *lines, "---", "", visible(words), ""]))
    return found


def _digest(text: str) -> str:
    """What a policy names an inline script or style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "row": hit.row,
        "influence": hit.influence,
        "level": hit.level,
        "both": hit.has_both,
        "cut": hit.overlap.cut(hit.row.completion),
    }


def _row(text: dict[str, Any], loss: float) -> Sequence[Any]:
    shown = (text["id"], f"{text['source']}:{text['line']}", text["prompt"], text["completion"])
    return *(visible(str(one)) for one in shown), round(loss, 4)


def _requests(workspace: Workspace, folder: Path) -> list[dict[str, Any]]:
    """The ledger's requests, and pages of their certificates."""
    if not workspace.has_ledger:
        return []
    ledger = Ledger(workspace.ledger, without_key=True)
    found = []
    for place, request in enumerate(ledger.requests().values(), start=1):
        name = "certificate" if request.is_done else "report"
        record = None if fault_of(request.id) else ledger.request_folder(request.id) / f"{name}.json"
        page = None
        if record is not None and record.is_file():
            # Names of requests are their owners': files of a copy are numbered.
            page = f"certificate-{place}.html"
            write_text(folder / page, render_certificate_page(read_record(record, what="The certificate")))
        found.append({"request": request, "page": page, "events": request.events})
    return found
