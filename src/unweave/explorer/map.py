"""The screen *Map*: all rows as points, near to each other where their gradients point the same way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jaxtyping import UInt16

from unweave.errors import ConfigError, nearest
from unweave.explorer.pages import link_of, page, workspace_of
from unweave.explorer.rows import shown_number
from unweave.explorer.sql_table import FIELD
from unweave.explorer.table import RowTable
from unweave.visible import visible

router = APIRouter()

CLASSES = 7
"""Values of a column that have a colour of their own, the most frequent ones; all others share one."""
STEPS = 255
NONE = 65_535
"""The colour of rows without a value."""
MOST_ASKED, SHOWN = 50, 300


@dataclass(frozen=True)
class Legend:
    """What the colours of the map mean.

    Attributes:
        kind: `classes`; or `scale`, from low to high; or `sides`, from below zero to above it.
        title: What is coloured by.
        labels: Of each class, in the order of the colours; or of the scale's low end, middle and high end.
        counts: Rows of each class.
        missing: Rows without a value.
    """

    kind: str
    title: str
    labels: list[str]
    counts: list[int] = field(default_factory=list)
    missing: int = 0


@router.get("/map")
def show(request: Request) -> HTMLResponse:
    """The screen.

    Args:
        request: The request.

    Returns:
        The page.
    """
    workspace = workspace_of(request)
    table, placed = workspace.table(), workspace.positions.get()
    return page(request, "map.html", placed=placed, colours=colourings(table), influence_of=table.influence_of)


@router.get("/map/state")
def state(request: Request) -> HTMLResponse:
    """Whether the map is there: asked again and again until it is.

    Args:
        request: The request.

    Returns:
        A part of the page, or what has the browser load all of it.
    """
    placed = workspace_of(request).positions.get()
    response = page(request, "map_state.html", placed=placed)
    if placed is not None:
        response.headers["hx-refresh"] = "true"
    return response


@router.get("/map/points")
def points(request: Request, colour: str = "source") -> Response:
    """Where all rows are, and their colours.

    Args:
        request: The request.
        colour: What is coloured by.

    Returns:
        For n rows 2 n numbers in float32, x and y of each, and n numbers in uint16; little-endian.

    Raises:
        ConfigError: While the map is computed.
    """
    workspace = workspace_of(request)
    table, placed = workspace.table(), workspace.positions.get()
    if placed is None or len(placed.points) != len(table):
        raise ConfigError("The map is still being computed.", where="/map", remedy="wait until it is shown")
    colours, _ = coloured(table, colour)
    body = placed.points.astype("<f4").tobytes() + colours.astype("<u2").tobytes()
    return Response(body, media_type="application/octet-stream")


@router.get("/map/legend")
def legend(request: Request, colour: str = "source") -> dict[str, Any]:
    """What the colours mean.

    Args:
        request: The request.
        colour: What is coloured by.

    Returns:
        The legend.
    """
    return asdict(coloured(workspace_of(request).table(), colour)[1])


@router.get("/map/rows")
def rows(request: Request, places: str = "") -> list[dict[str, str]]:
    """Some rows, for who points at them.

    Args:
        request: The request.
        places: Their places in the store's order, with commas between.

    Returns:
        Id, link, file and line, prompt and answer of each, cut where they are long.

    Raises:
        ConfigError: When there is no row at a place, or these are too many.
    """
    table = workspace_of(request).table()
    asked = [
        int(place) if place.isascii() and place.isdigit() and len(place) < 10 else -1
        for place in places.split(",")
        if place
    ]
    if len(asked) > MOST_ASKED or any(not 0 <= place < len(table) for place in asked):
        raise ConfigError(
            "There is no row at such a place.",
            where="the address of the page",
            remedy=f"ask for {MOST_ASKED} places at most, below {len(table)}",
        )
    found = []
    for place in asked:
        text = table.text(place)
        found.append(
            {
                "id": visible(table.ids[place]),
                "link": link_of(table.ids[place]),
                "place": visible(f"{text['source'] or ''}:{text['line']}"),
                "prompt": visible(text["prompt"][:SHOWN]),
                "answer": visible(text["completion"][:SHOWN]),
            }
        )
    return found


def colourings(table: RowTable) -> dict[str, str]:
    """What rows can be coloured by.

    Args:
        table: The rows.

    Returns:
        Name to title.
    """
    return {
        "source": "file",
        **{column.name: column.title for column in table.columns},
        **{f"{FIELD}{name}": f"column {name}" for name in table.fields},
    }


def coloured(table: RowTable, colour: str) -> tuple[UInt16[np.ndarray, " n"], Legend]:
    """The colours of rows, as numbers.

    Args:
        table: The rows.
        colour: What is coloured by.

    Returns:
        The number of each row's class, or its step on a scale; and what these mean.

    Raises:
        ConfigError: When there is nothing of that name.
    """
    titles = colourings(table)
    if colour not in titles:
        raise ConfigError("Rows can't be coloured by that.", where=colour, remedy=nearest(colour, titles))
    title = titles[colour]
    if colour == "source":
        names = list(table.sources)
        numbers = np.minimum(table.source_numbers, CLASSES).astype(np.uint16)
        return numbers, _classes(title, names, list(table.sources.values()), 0)
    if colour.startswith(FIELD):
        values = table.field_values(colour.removeprefix(FIELD))
        counts = Counter(value for value in values if value is not None).most_common()
        numbered = {value: min(number, CLASSES) for number, (value, _) in enumerate(counts)}
        numbers = np.fromiter((NONE if value is None else numbered[value] for value in values), np.uint16, len(values))
        missing = int((numbers == NONE).sum())
        return numbers, _classes(title, [value for value, _ in counts], [count for _, count in counts], missing)
    return _scaled(title, next(column.values for column in table.columns if column.name == colour))


def _classes(title: str, names: Sequence[str], counts: Sequence[int], missing: int) -> Legend:
    labels, shown = [visible(name[:SHOWN]) or "none" for name in names[:CLASSES]], list(counts[:CLASSES])
    if len(names) > CLASSES:
        labels.append(f"{len(names) - CLASSES:,} others")
        shown.append(sum(counts[CLASSES:]))
    return Legend("classes", title, labels, shown, missing)


def _scaled(title: str, values: np.ndarray) -> tuple[UInt16[np.ndarray, " n"], Legend]:
    """Steps between the first and the last hundredth of the values, so that a few extreme ones do not leave the rest one colour."""
    there = np.isfinite(values)
    missing = int((~there).sum())
    numbers = np.full(len(values), NONE, dtype=np.uint16)
    if not there.any():
        return numbers, Legend("scale", title, ["", "", ""], missing=missing)
    low, high = (float(end) for end in np.quantile(values[there], (0.01, 0.99)))
    kind = "sides" if low < 0 < high else "scale"
    if kind == "sides":
        high = max(-low, high)
        low = -high
    span = high - low
    shares = (values[there] - low) / span if span > 0 else np.full(int(there.sum()), 0.5)
    numbers[there] = np.clip(np.rint(shares * (STEPS - 1)), 0, STEPS - 1).astype(np.uint16)
    middle = shown_number((low + high) / 2)
    labels = [f"{shown_number(low)} or less", middle, f"{shown_number(high)} or more"]
    return numbers, Legend(kind, title, labels, missing=missing)
