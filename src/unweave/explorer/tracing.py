"""Tracing for the screens: whole answers, parts and contrasts, with what was computed last kept in memory."""

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.attribution.config import RetrievalConfig
from unweave.attribution.details import TokenDetail
from unweave.attribution.hits import Hit, Hits
from unweave.attribution.index import GradientIndex
from unweave.attribution.queries import Query, make_queries
from unweave.attribution.spans import row_detail, span_concentration
from unweave.attribution.tracing import trace_queries
from unweave.explorer.asked import FOLDER, Asked, AskedAnswers, AskedHit
from unweave.explorer.workspace import Workspace

TOP = 12
KEPT = 64
SPAN_WORDS = 3
"""Words of an answer that are shaded together."""


@dataclass(frozen=True)
class Traced:
    """What is looked at: an answer or a part of it, by one scorer, at one checkpoint.

    Attributes:
        asked: The question.
        span: Characters of the answer, from one place up to another; `None` for all.
        scorer: `influence`, or a baseline.
        against: Another answer, for a contrast.
        place: The store; `None` for the first.
    """

    asked: Asked
    span: tuple[int, int] | None = None
    scorer: str = "influence"
    against: str | None = None
    place: Path | None = None


class Tracer:
    """Traces for the screens.

    Args:
        workspace: What is explored.
    """

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self.answers = AskedAnswers(workspace.folder / FOLDER)
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def hits(self, traced: Traced) -> Hits:
        """The rows that it comes from.

        Args:
            traced: What is looked at.

        Returns:
            The most helpful and the most harmful rows, with the scores of all.
        """

        def compute() -> Hits:
            index = self.workspace.index(traced.place)
            config = RetrievalConfig(top_k=TOP, scorer=traced.scorer)
            result = trace_queries(index.store, index.model, [_query(index, traced)], config, sketcher=index.sketcher)
            return Hits.of(result, index.store)

        found = self._once(("hits", traced), compute)
        if traced != Traced(traced.asked):
            return found
        # What the other screens colour, sort and filter by: the whole answer that was looked at last.
        self.workspace.table().set_influence(traced.asked.prompt, found.scores)
        if not traced.asked.hits:
            self.answers.keep_hits(traced.asked, [AskedHit(hit.row.id, hit.influence, hit.level) for hit in found])
        return found

    def detail(self, traced: Traced, row_id: str) -> TokenDetail:
        """How the tokens of one row meet those of the answer.

        Args:
            traced: What is looked at.
            row_id: The row.

        Returns:
            The matrix of positions.
        """

        def compute() -> TokenDetail:
            index = self.workspace.index(traced.place)
            return row_detail(index, _query(index, traced), row_id)

        self.workspace.row(row_id)
        return self._once(("detail", traced, row_id), compute)

    def shades(self, asked: Asked) -> list[tuple[int, int, float]]:
        """How concentrated the influence on each part of an answer is.

        Args:
            asked: The question.

        Returns:
            Characters of the answer, from one place up to another, and the share of the influence that the ten best rows carry.
        """
        spans = spans_of(asked.completion)

        def compute() -> list[float | None]:
            return span_concentration(self.workspace.index(), asked.row(), spans)

        found = self._once(("shades", asked.id), compute)
        return [(*span, share) for span, share in zip(spans, found, strict=True) if share is not None]

    def _once(self, key: Any, compute: Any) -> Any:
        key = (key, repr(self.workspace.version()))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self.workspace.computing:
            found = compute()
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found


def spans_of(answer: str, *, words: int = SPAN_WORDS) -> list[tuple[int, int]]:
    """Cut an answer into groups of words.

    Args:
        answer: The answer.
        words: Words of a group.

    Returns:
        Where each begins and ends, in characters.
    """
    found = [match.span() for match in re.finditer(r"\S+", answer)]
    groups = [found[start : start + words] for start in range(0, len(found), words)]
    return [(group[0][0], group[-1][1]) for group in groups]


def ranks(hits: Hits) -> dict[str, int]:
    """The place of every row among all, the most helpful first; equal scores by id.

    Args:
        hits: A trace.

    Returns:
        Row id to place, from 1.
    """
    ordered = sorted(hits.scores.items(), key=lambda pair: (-pair[1], pair[0]))
    return {row_id: place for place, (row_id, _) in enumerate(ordered, start=1)}


def sides(hits: Hits) -> list[tuple[str, tuple[Hit, ...]]]:
    """The two sides of a trace with their headings.

    Args:
        hits: A trace.

    Returns:
        Helpful, harmful; a baseline has one side only.
    """
    from unweave.report.trace_page import SIDES

    both = [(SIDES["helpful"], hits.helpful), (SIDES["harmful"], hits.harmful)]
    return [(title, own) for title, own in both if own]


def _query(index: GradientIndex, traced: Traced) -> Query:
    options: dict[str, Any] = {"span": traced.span, "against": traced.against}
    return make_queries([traced.asked.row()], index.model.tokenizer, index.encoding, **options)[0]
