"""The screen *Answer*: ask, and see which rows the answer comes from, word by word."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from unweave.arguments import shown
from unweave.attribution.registry import INFLUENCE, SCORERS
from unweave.attribution.scale import said
from unweave.errors import ConfigError, UnweaveError
from unweave.explorer.asked import Asked
from unweave.explorer.histogram import make_histogram
from unweave.explorer.pages import page, workspace_of
from unweave.explorer.tracing import Traced, Tracer, ranks, sides
from unweave.models.streaming import stream_answer

router = APIRouter()
LONGEST = 20_000
"""Characters of a question, or of an answer."""
MOST_TOKENS = 512
SHOWN_BESIDE = 10
BESIDE = ("bm25", "gradnorm")
"""Baselines that stand beside influence without being asked for: those that take no time."""


@router.get("/")
def show(request: Request, answer: str = "") -> HTMLResponse:
    """The screen.

    Args:
        request: The request.
        answer: The id of a question that was asked.

    Returns:
        The page.
    """
    tracer = tracer_of(request)
    asked = tracer.answers.get(answer) if answer else None
    places = [str(place) for place in workspace_of(request).also]
    return page(
        request,
        "answer.html",
        asked=asked,
        before=tracer.answers.all()[:20],
        scorers=[INFLUENCE, *SCORERS],
        places=places,
    )


@router.post("/answer/ask")
def ask(
    request: Request,
    prompt: Annotated[str, Body()],
    completion: Annotated[str, Body()] = "",
    system: Annotated[str, Body()] = "",
    max_new_tokens: Annotated[int, Body()] = 48,
) -> StreamingResponse:
    """Have the model answer, piece by piece; or take an answer that is given.

    Args:
        request: The request.
        prompt: The question.
        completion: The answer; without one the model answers.
        system: The system text.
        max_new_tokens: The longest answer.

    Returns:
        JSON lines: `piece`s of text, then the `asked` question's id and whole answer; or an `error`.

    Raises:
        ConfigError: When there is no question, or one that is too long.
    """
    if not prompt.strip():
        raise ConfigError("There is no question.", where="`prompt`", remedy="type one")
    if max(len(prompt), len(completion), len(system)) > LONGEST:
        raise ConfigError("A text is too long.", where="`prompt`", remedy=f"give at most {LONGEST:,} characters")
    if not 1 <= max_new_tokens <= MOST_TOKENS:
        raise ConfigError(
            "The longest answer is out of range.", where="`max_new_tokens`", remedy=f"give 1 to {MOST_TOKENS}"
        )
    return StreamingResponse(
        _answer(tracer_of(request), prompt, completion, system or None, max_new_tokens),
        media_type="application/x-ndjson",
    )


def _answer(tracer: Tracer, prompt: str, completion: str, system: str | None, longest: int) -> Iterator[str]:
    workspace, generated = tracer.workspace, not completion
    try:
        if generated:
            row = Asked("", prompt, "", system).row()
            with workspace.computing:
                speaker, encoding = workspace.speaker, workspace.index().encoding
            pieces = stream_answer(speaker, row, encoding, max_new_tokens=longest, lock=workspace.computing)
            while True:
                try:
                    yield _line(piece=next(pieces))
                except StopIteration as end:
                    completion = end.value
                    break
        if not completion.strip():
            said_by = "The model answers nothing." if generated else "The answer is empty."
            raise ConfigError(said_by, where="`prompt`", remedy="ask something else, or give an answer")
        asked = tracer.answers.keep(prompt, completion, system=system, generated=generated)
        yield _line(asked=asked.id, completion=asked.completion)
    except UnweaveError as error:
        yield _line(error=shown(" ".join(filter(None, (error.sentence, error.remedy)))))


@router.post("/answer/hits")
def hits(
    request: Request,
    asked: Annotated[str, Body()],
    begin: Annotated[int | None, Body()] = None,
    end: Annotated[int | None, Body()] = None,
    scorer: Annotated[str, Body()] = "influence",
    against: Annotated[str, Body()] = "",
    place: Annotated[str, Body()] = "",
) -> HTMLResponse:
    """The rows that an answer or a part of it comes from.

    Args:
        request: The request.
        asked: The question's id.
        begin: The first character of the part.
        end: The character behind its last.
        scorer: Which scores.
        against: Another answer: why the first and not this.
        place: A store of another checkpoint.

    Returns:
        A part of the page.
    """
    tracer = tracer_of(request)
    traced = _traced(tracer, asked, begin, end, scorer, against, place)
    found = tracer.hits(traced)
    drawn = make_histogram(found.scores.values()) if found.scores else None
    on_list = set(tracer.workspace.reviewed.ids())
    return page(
        request, "hits.html", traced=traced, hits=found, sides=sides(found), histogram=drawn, on_list=on_list, said=said(found.stands_out),
        part=found.part if traced.span else None,
    )  # fmt: skip


@router.post("/answer/beside")
def beside(
    request: Request,
    asked: Annotated[str, Body()],
    begin: Annotated[int | None, Body()] = None,
    end: Annotated[int | None, Body()] = None,
) -> HTMLResponse:
    """The best rows of several scorers and checkpoints beside each other, each with its place in the others.

    Args:
        request: The request.
        asked: The question's id.
        begin: The first character of the part.
        end: The character behind its last.

    Returns:
        A part of the page.
    """
    tracer = tracer_of(request)
    columns = {INFLUENCE: (INFLUENCE, "")}
    columns |= {f"influence at {place.name}": (INFLUENCE, str(place)) for place in tracer.workspace.also}
    columns |= {name: (name, "") for name in BESIDE}
    found = {
        name: tracer.hits(_traced(tracer, asked, begin, end, scorer, "", place))
        for name, (scorer, place) in columns.items()
    }
    places = {name: ranks(own) for name, own in found.items()}
    first = places[INFLUENCE]
    there = tracer.workspace.texts()
    ids = dict.fromkeys(hit.row.id for own in found.values() for hit in own[:SHOWN_BESIDE] if hit.row.id in there)
    rows = tracer.workspace.rows(sorted(ids, key=lambda row_id: first.get(row_id, len(first))))
    lines = [(row, [_shift(row.id, own, first) for own in places.values()]) for row in rows]
    return page(request, "beside.html", titles=list(found), lines=lines)


@router.get("/answer/shades")
def shades(request: Request, asked: str) -> list[tuple[int, int, float]]:
    """How concentrated the influence on each part of an answer is.

    Args:
        request: The request.
        asked: The question's id.

    Returns:
        First character, the one behind the last, and the share that the ten best rows carry.
    """
    tracer = tracer_of(request)
    return tracer.shades(tracer.answers.get(asked))


@router.post("/answer/tokens")
def tokens(
    request: Request,
    asked: Annotated[str, Body()],
    row: Annotated[str, Body()],
    begin: Annotated[int | None, Body()] = None,
    end: Annotated[int | None, Body()] = None,
    against: Annotated[str, Body()] = "",
) -> dict[str, Any]:
    """How the tokens of one row meet those of the answer, exactly.

    Args:
        request: The request.
        asked: The question's id.
        row: The row's id.
        begin: The first character of the part.
        end: The character behind its last.
        against: Another answer.

    Returns:
        The fields of `TokenDetail`.
    """
    tracer = tracer_of(request)
    detail = tracer.detail(_traced(tracer, asked, begin, end, "influence", against, ""), row)
    return dict(detail.__dict__)


def tracer_of(request: Request) -> Tracer:
    """The application's tracer.

    Args:
        request: A request.

    Returns:
        The tracer.
    """
    return request.app.state.tracer


def _traced(
    tracer: Tracer, asked: str, begin: int | None, end: int | None, scorer: str, against: str, place: str
) -> Traced:
    if scorer not in (choices := (INFLUENCE, *SCORERS)):
        raise ConfigError("There is no such scorer.", where="`scorer`", remedy=f"choose one of {', '.join(choices)}")
    places = {str(own): own for own in tracer.workspace.also}
    if place and place not in places:
        raise ConfigError(
            "There is no such store here.", where="the list of checkpoints", remedy="choose one of the page"
        )
    span = None if begin is None or end is None else (begin, end)
    return Traced(tracer.answers.get(asked), span, scorer, against or None, places.get(place))


def _shift(row_id: str, places: dict[str, int], first: dict[str, int]) -> tuple[int | None, int | None]:
    """A row's place, and by how many places it stands higher than by influence."""
    own, other = places.get(row_id), first.get(row_id)
    return own, None if own is None or other is None or places is first else other - own


def _line(**value: Any) -> str:
    return json.dumps(value) + "\n"
