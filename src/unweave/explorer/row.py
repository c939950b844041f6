"""The screen *Row*: all of one row, what is like it, what it drives, and its loss under the models."""

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeGuard

import numpy as np
from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse

from unweave.attribution.model import store_model
from unweave.data.copies import find_copies
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.pieces import pieces_of
from unweave.data.rows import Row
from unweave.errors import UnweaveError
from unweave.explorer.asked import FOLDER
from unweave.explorer.pages import link_of, page, workspace_of
from unweave.explorer.rows import matching_places, shown_number
from unweave.explorer.search import Search
from unweave.explorer.workspace import Workspace
from unweave.gradients.scoring import row_losses
from unweave.ledger.ledger import Ledger
from unweave.models.loading import load
from unweave.store.texts import stored_rows

router = APIRouter()

SIMILARITY = 0.6
"""From which share of common letter groups on another row is shown as a near-duplicate."""
AT_ONCE = 2_000
"""Up to so many rows copies are looked for without being asked: a row takes a tenth of a millisecond or more."""
ADAPTER = "adapter"


@dataclass(frozen=True)
class Drives:
    """An asked question that a row has influence on.

    Attributes:
        id: Of the question.
        prompt: What was asked.
        completion: What was answered.
        time: When.
        influence: The row's influence on the answer.
        level: Share of rows below it.
    """

    id: str
    prompt: str
    completion: str
    time: str
    influence: float
    level: float | None


@dataclass(frozen=True)
class Seen:
    """A row as the model saw it.

    Attributes:
        pieces: The text in pieces, each with whether it is learned.
        tokens: How many tokens it has.
        learned: How many of them are learned.
        problems: What was cut or left out of it.
    """

    pieces: list[tuple[str, bool]]
    tokens: int
    learned: int
    problems: list[str]


@dataclass(frozen=True)
class ModelLoss:
    """The loss of a row under a model.

    Attributes:
        model: The model, in words.
        loss: Nats a token of what is learned; NaN where it could not be computed.
        probability: exp(-loss), a token.
        why: Why it could not be computed; empty where it was.
    """

    model: str
    loss: float
    probability: float
    why: str = ""


@router.get("/row")
def show(request: Request, id: str, near: bool = False) -> HTMLResponse:  # noqa: A002
    """The screen.

    Args:
        request: The request; `list` in its address is that of the list that the row was opened from.
        id: The row's id.
        near: Whether copies are looked for among many rows too.

    Returns:
        The page.
    """
    workspace = workspace_of(request)
    row = workspace.row(id)
    table = workspace.table()
    listed = request.query_params.get("list", "")
    before, after, place, total = neighbours(workspace, row.id, listed)
    at = table.places[row.id]
    seen, unseen = None, ""
    try:
        seen = seen_text(workspace, row)
    except UnweaveError as error:
        unseen = error.sentence
    is_near = near or len(table) <= AT_ONCE
    return page(
        request,
        "row.html",
        row=row,
        seen=seen,
        unseen=unseen,
        meta=[
            (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for name, value in row.meta.items()
        ],
        numbers=[(column.title, shown_number(float(column.values[at]))) for column in table.columns],
        influence_of=table.influence_of,
        before=before,
        after=after,
        place=place,
        total=total,
        listed=listed,
        link=lambda row_id, **more: link_of(row_id, listed, **more),
        answers=answers_of_row(workspace.folder, row.id),
        is_near=is_near,
        copies=near_copies(workspace, row) if is_near else [],
        is_reviewed=row.id in set(workspace.reviewed.ids()),
        unlearned=[name for name, _ in unlearned(workspace)],
    )


@router.get("/row/near")
def show_near(request: Request, id: str) -> HTMLResponse:  # noqa: A002
    """The row's copies, as a part of the page.

    Args:
        request: The request.
        id: The row's id.

    Returns:
        The part.
    """
    workspace = workspace_of(request)
    row, listed = workspace.row(id), request.query_params.get("list", "")
    values = {
        "row": row,
        "is_near": True,
        "link": lambda row_id, **more: link_of(row_id, listed, **more),
        "listed": listed,
    }
    return page(request, "row_near.html", copies=near_copies(workspace, row), **values)


@router.post("/row/losses")
def losses(request: Request, id: Annotated[str, Body(embed=True)]) -> HTMLResponse:  # noqa: A002
    """The loss of the row under the model before and every unlearned one, computed now.

    Args:
        request: The request.
        id: The row's id.

    Returns:
        A part of the page.
    """
    workspace = workspace_of(request)
    return page(request, "row_losses.html", measured=model_losses(workspace, workspace.row(id)))


def neighbours(workspace: Workspace, row_id: str, listed: str) -> tuple[str | None, str | None, int, int]:
    """The rows before and after a row.

    Args:
        workspace: What is explored.
        row_id: The row.
        listed: The list to go through, as it stands in an address of `/rows`; empty for the store's order. The store's, too, where the row is not in it.

    Returns:
        The two, where there are such; the row's place in the list, from 1; and how many rows that has.
    """
    table = workspace.table()
    own = table.places[row_id]
    places = np.arange(len(table))
    if listed:
        # A list of before may ask for a column that is gone, or a map that is computed anew.
        with contextlib.suppress(UnweaveError):
            places = matching_places(workspace, Search.parse(listed))
    at = (places == own).nonzero()[0]
    if not len(at):
        places, at = np.arange(len(table)), np.array([own])
    place = int(at[0])
    before = table.ids[places[place - 1]] if place else None
    after = table.ids[places[place + 1]] if place + 1 < len(places) else None
    return before, after, place + 1, len(places)


def seen_text(workspace: Workspace, row: Row) -> Seen:
    """A row as the model saw it.

    Args:
        workspace: What is explored.
        row: The row.

    Returns:
        Its text.
    """
    encoded = encode_rows([row], workspace.tokenizer, EncodingConfig(**workspace.spec.encoding))
    example = encoded.examples[0]
    problems = [f"{problem.action}: {problem.reason}" for problem in encoded.problems]
    return Seen(pieces_of(example, workspace.tokenizer), len(example), example.completion_length, problems)


def near_copies(workspace: Workspace, row: Row) -> list[tuple[Any, Row]]:
    """The row's copies and near-duplicates.

    Args:
        workspace: What is explored.
        row: The row.

    Returns:
        Each with its row, the most alike first.
    """
    texts = workspace.texts()
    others = (stored_rows(texts, [row_id], where=str(workspace.place))[0] for row_id in workspace.row_ids())
    found = find_copies([row], others, similarity=SIMILARITY)
    return [(copy, workspace.row(copy.row_id)) for copy in sorted(found, key=lambda copy: -copy.similarity)]


def answers_of_row(folder: Path, row_id: str) -> list[Drives]:
    """The asked questions that a row has influence on.

    Args:
        folder: The workspace's folder.
        row_id: The row.

    Returns:
        Them, the strongest influence first; those whose file can't be read are passed over.
    """
    found = []
    for record in _answers(folder / FOLDER):
        for hit in record.get("hits", []):
            if isinstance(hit, dict) and hit.get("row") == row_id and _is_number(hit.get("influence")):
                level = hit.get("level")
                found.append(
                    Drives(
                        id=str(record.get("id", "")),
                        prompt=str(record.get("prompt", "")),
                        completion=str(record.get("completion", "")),
                        time=str(record.get("time", "")),
                        influence=float(hit["influence"]),
                        level=float(level) if _is_number(level) else None,
                    )
                )
                break
    return sorted(found, key=lambda drives: (-abs(drives.influence), drives.id))


def _answers(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("hits"), list):
            yield record


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def unlearned(workspace: Workspace) -> list[tuple[str, Path]]:
    """The unlearned models that there are.

    Args:
        workspace: What is explored.

    Returns:
        Name of each request that was carried out, and its adapter, in the order in which they were done.
    """
    if not workspace.has_ledger:
        return []
    ledger = Ledger(workspace.ledger)
    places = [(request.id, ledger.request_folder(request.id) / ADAPTER) for request in ledger.carried_out()]
    return [(name, place) for name, place in places if place.is_dir()]


def model_losses(workspace: Workspace, row: Row) -> list[ModelLoss]:
    """The loss of a row under the model before and every unlearned one.

    Args:
        workspace: What is explored.
        row: The row.

    Returns:
        What was computed of each; of the model before as the store has it.
    """
    table = workspace.table()
    loss = next(float(column.values[table.places[row.id]]) for column in table.columns if column.name == "loss")
    found = [ModelLoss("the model of the store", loss, math.exp(-loss))]
    encoding = EncodingConfig(**workspace.spec.encoding)
    if workspace.final_adapter is not None:
        # The store is of an early checkpoint; what is unlearned from is the final one.
        with workspace.computing:
            own = row_losses(workspace.speaker, [row], encoding).means()[0]
        found.append(ModelLoss(f"{workspace.name}, the final checkpoint", own, math.exp(-own)))
    for name, place in unlearned(workspace):
        title = f"after the request {name}"
        try:
            # One model at a time; that of the request is given up again, which the base's weights are large enough a reason for.
            with workspace.computing:
                config = replace(store_model(workspace.spec, workspace.config), model=str(place), adapter=None)
                own = row_losses(load(config), [row], encoding).means()[0]
            found.append(ModelLoss(title, own, math.exp(-own)))
        except UnweaveError as error:
            found.append(ModelLoss(title, math.nan, math.nan, error.sentence))
    return found
