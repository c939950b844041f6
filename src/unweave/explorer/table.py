"""The rows as a table in memory: searched, filtered, sorted and cut into pages."""

import json
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from unweave.errors import ConfigError, nearest
from unweave.explorer.search import Search
from unweave.explorer.sql import Answer, Sandbox
from unweave.explorer.sql_table import FIELD, Column, arrow_table, as_text, sql_columns

PAGE_ROWS = 50
MOST_FIELDS = 64
"""Columns of the data that can be filtered by."""
KEPT_CONDITIONS = 16


@dataclass(frozen=True)
class Page:
    """A page of rows.

    Attributes:
        places: The rows, by their place in the store's order.
        count: How many rows match, on all pages.
        number: Of the page, from 1.
        pages: How many there are.
    """

    places: list[int]
    count: int
    number: int
    pages: int


class RowTable:
    """All rows of a store.

    Args:
        row_ids: The rows, in the store's order.
        texts: Row id to its text, as `unweave.store.texts.read_texts` gives them.
        numbers: Name and title to a number a row: loss, gradient norm, values.
        version: Of the store.
    """

    def __init__(
        self,
        row_ids: Sequence[str],
        texts: Mapping[str, Mapping[str, Any]],
        numbers: Mapping[tuple[str, str], Sequence[float]],
        *,
        version: Any = None,
    ):
        self.version = version
        self.ids = list(row_ids)
        self._own = [texts[row_id] for row_id in self.ids]
        self._numbers = {
            name: Column(name, title, np.asarray(values, dtype=np.float64)) for (name, title), values in numbers.items()
        }
        # One text after another, so that a word is looked for in all of them at once; no word holds the line breaks between them.
        lowered = [_lowered(f"{text['prompt']}\n{text['completion']}") for text in self._own]
        self._joined = b"\n".join(lowered)
        self._starts: list[int] = np.cumsum([0, *(len(text) + 1 for text in lowered)]).tolist()
        counts = Counter(text["source"] or "" for text in self._own)
        self.sources: dict[str, int] = dict(counts.most_common())
        numbered = {source: number for number, source in enumerate(self.sources)}
        self.source_numbers = np.array([numbered[text["source"] or ""] for text in self._own], dtype=np.int64)
        self._metas: list[dict[str, Any]] = [_meta(text) for text in self._own]
        self.fields = list(dict.fromkeys(name for meta in self._metas for name in meta))[:MOST_FIELDS]
        self.influence_of: str | None = None
        self._scores: Mapping[str, float] = {}
        self._fields: dict[str, tuple[list[str | None], dict[str, int], np.ndarray]] = {}
        self._orders: dict[tuple[str, bool], np.ndarray] = {}
        self._conditions: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def places(self) -> dict[str, int]:
        """Row id to its place."""
        return {row_id: place for place, row_id in enumerate(self.ids)}

    @property
    def columns(self) -> list[Column]:
        """The columns of numbers."""
        return list(self._numbers.values())

    def text(self, place: int) -> Mapping[str, Any]:
        """A row's text.

        Args:
            place: The row.

        Returns:
            What `read_texts` gave.
        """
        return self._own[place]

    def set_influence(self, name: str, scores: Mapping[str, float]) -> None:
        """Give the rows a column `influence`, in place of the one that they had.

        Args:
            name: What the influence is on.
            scores: Row id to influence.
        """
        values = np.array([scores.get(row_id, np.nan) for row_id in self.ids], dtype=np.float64)
        with self._lock:
            self.influence_of, self._scores = name, scores
            self._numbers["influence"] = Column("influence", "influence", values)
            self._orders = {key: order for key, order in self._orders.items() if key[0] != "influence"}
            self._conditions = {}
            if "sandbox" in self.__dict__:
                self.sandbox.set_influence(values)

    def take_influence(self, other: "RowTable") -> None:
        """Have the influence that another table has, of the rows that this one has too.

        Args:
            other: The table of an earlier version of the store.
        """
        if other.influence_of is not None:
            self.set_influence(other.influence_of, other._scores)

    def field_values(self, name: str) -> list[str | None]:
        """A column of the data, as text.

        Args:
            name: Its name.

        Returns:
            The text of each row; `None` where it has no such column.

        Raises:
            ConfigError: When no row has one.
        """
        if name not in self.fields:
            raise ConfigError("The data has no such column.", where=name, remedy=nearest(name, self.fields or ["none"]))
        return self._field(name)[0]

    def _field(self, name: str) -> tuple[list[str | None], dict[str, int], np.ndarray]:
        """The text of each row, and the same as numbers: text to number, and the number of each row, -1 for none."""
        if name not in self._fields:
            own = (meta.get(name) for meta in self._metas)
            values = [None if value is None else as_text(value) for value in own]
            numbered = {value: number for number, value in enumerate(dict.fromkeys(values)) if value is not None}
            numbers = np.fromiter((-1 if value is None else numbered[value] for value in values), np.int64, len(values))
            self._fields[name] = values, numbered, numbers
        return self._fields[name]

    def matching(self, search: Search, among: Bool[np.ndarray, " n"] | None = None) -> Bool[np.ndarray, " n"]:
        """The rows that a search finds.

        Args:
            search: The search; its lasso is not looked at.
            among: Where to look: the rows inside a lasso.

        Returns:
            For each row whether it is found.
        """
        found = np.ones(len(self), dtype=bool) if among is None else among.copy()
        if search.source:
            number = list(self.sources).index(search.source) if search.source in self.sources else -1
            found &= self.source_numbers == number
        if search.field:
            self.field_values(search.field)
        if search.field and search.equals:
            _, numbered, numbers = self._field(search.field)
            found &= numbers == numbered.get(search.equals, -2)
        # The longest word, which is the rarest as a rule, leaves the fewest rows for the others.
        for word in sorted(set(map(_lowered, search.words.split())), key=lambda word: (-len(word), word)):
            found &= self._holding(word, found)
        if search.where and not search.is_select:
            found &= self.condition(search.where)
        return found

    def _holding(self, word: bytes, among: np.ndarray) -> np.ndarray:
        """The rows that a word stands in, of those that are asked about."""
        joined, starts = self._joined, self._starts
        found = np.zeros(len(self), dtype=bool)
        asked = among.nonzero()[0]
        if len(asked) < len(self) // 8:
            found[[place for place in asked.tolist() if joined.find(word, starts[place], starts[place + 1]) >= 0]] = (
                True
            )
            return found
        hits, at = [], joined.find(word)
        while at >= 0:
            place = bisect_right(starts, at) - 1
            hits.append(place)
            at = joined.find(word, starts[place + 1])
        found[hits] = True
        return found

    def condition(self, text: str) -> Bool[np.ndarray, " n"]:
        """The rows that a condition in SQL holds for.

        Args:
            text: The condition.

        Returns:
            For each row whether it does.
        """
        found = self._conditions.get(text)
        if found is None:
            found = self.sandbox.condition(text)
            with self._lock:
                kept = list(self._conditions.items())[-KEPT_CONDITIONS + 1 :]
                self._conditions = dict([*kept, (text, found)])
        return found

    def select(self, text: str) -> Answer:
        """What a SELECT over the table `rows` gives.

        Args:
            text: The SELECT.

        Returns:
            Its first rows.
        """
        return self.sandbox.select(text)

    def search(self, search: Search, among: Bool[np.ndarray, " n"] | None = None) -> Page:
        """A page of what a search finds.

        Args:
            search: The search.
            among: Where to look: the rows inside a lasso.

        Returns:
            The page; the last one where a later one was asked for.
        """
        places = self.sorted(search, among)
        pages = max(1, -(-len(places) // PAGE_ROWS))
        number = min(search.page, pages)
        shown = places[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
        return Page(shown.tolist(), len(places), number, pages)

    def sorted(self, search: Search, among: Bool[np.ndarray, " n"] | None = None) -> Int[np.ndarray, " m"]:
        """All rows that a search finds, in its order.

        Args:
            search: The search.
            among: Where to look.

        Returns:
            Their places.
        """
        found = self.matching(search, among)
        if not search.sort:
            return found.nonzero()[0]
        order = self._order(search.sort, search.down)
        return order[found[order]]

    def _order(self, name: str, down: bool) -> np.ndarray:
        """All places in the order of a column: rows without a value last, and equal ones in the store's order."""
        key = name, down
        order = self._orders.get(key)
        if order is None:
            column = self._numbers.get(name)
            if column is not None:
                order = np.argsort(-column.values if down else column.values, kind="stable")
            else:
                values = self._texts(name)
                there = [place for place, value in enumerate(values) if value is not None]
                gone = [place for place, value in enumerate(values) if value is None]
                ordered = sorted(there, key=values.__getitem__, reverse=down)
                order = np.array([*ordered, *gone], dtype=np.int64)
            with self._lock:
                # The influence may have become another one meanwhile.
                if column is self._numbers.get(name):
                    self._orders[key] = order
        return order

    def _texts(self, name: str) -> list[Any]:
        if name.startswith(FIELD):
            return self.field_values(name.removeprefix(FIELD))
        if name == "id":
            return self.ids
        if name == "source":
            return [(text["source"] or "", text["line"] or 0) for text in self._own]
        if name in ("prompt", "answer"):
            key = "completion" if name == "answer" else name
            return [text[key] for text in self._own]
        options = ["id", "source", "prompt", "answer", *self._numbers]
        raise ConfigError("Rows can't be sorted by that.", where=name, remedy=nearest(name, options))

    @cached_property
    def sql_columns(self) -> dict[str, str]:
        """The columns of the table `rows` in SQL, each with what it is."""
        return sql_columns(self.columns, self.fields)

    @cached_property
    def sandbox(self) -> Sandbox:
        """What runs SQL."""
        made = Sandbox(arrow_table(self.ids, self._own, self._metas, self._numbers, self.sql_columns))
        if "influence" in self._numbers:
            made.set_influence(self._numbers["influence"].values)
        return made


def _meta(text: Mapping[str, Any]) -> dict[str, Any]:
    raw = text.get("meta")
    if not raw or raw == "{}":
        return {}
    found = json.loads(raw)
    return found if isinstance(found, dict) else {}


def _lowered(text: str) -> bytes:
    """A text or a word as they are compared."""
    return text.lower().encode("utf-8", "surrogatepass")
