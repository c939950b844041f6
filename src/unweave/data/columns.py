"""Which layout a source has, and what a record of it says: recognised over many rows, or mapped by the user."""

from collections.abc import Iterable, Mapping
from typing import Any

from unweave.data.layouts import CLEAN_COLUMNS, LAYOUTS, Content, Layout, Record
from unweave.data.layouts.alpaca import read_instruction
from unweave.data.layouts.base import is_empty, is_missing, text_of
from unweave.data.layouts.conversations import read_conversation
from unweave.data.rows import Row, content_id
from unweave.data.turns import OTHER_COLUMNS
from unweave.errors import ConfigError, nearest

ROLES = ("instruction", "context", "completion", "messages", "text", "clean", "id", "system", "history", "tools")


class Recognized:
    """How the records of a source are read.

    Args:
        records: The first records: what none of them has is no column.
        mapping: Role to column, as the user gave it; `None` to recognise a layout. Roles are `ROLES`.
        where: The source, for errors.
    """

    def __init__(self, records: Iterable[Record], mapping: Mapping[str, str] | None, *, where: str):
        every: dict[str, Any] = {}
        for record in records:
            for column, value in _columns(record)[0].items():
                # A column that is empty in all rows seen so far is still one.
                if column not in every or is_missing(every[column]):
                    every[column] = value
        self.mapping = _checked(mapping, every.keys(), where=where) if mapping else {}
        present = {column: value for column, value in every.items() if not is_missing(value)}
        found = None if mapping else _layout_of(present)
        if found is None and not mapping:
            raise ConfigError(
                f"No known layout in the columns {', '.join(sorted(every)) or '(none)'}.",
                where=where,
                remedy=f"use the columns of one of {', '.join(LAYOUTS)}, or map yours: `columns` instruction YOURS completion YOURS",
            )
        self.layout = found or _mapped(self.mapping)

    def row(self, record: Record, *, source: str, line: int) -> Row:
        """Make a row of a record.

        Args:
            record: Column to value.
            source: The file.
            line: The line in it, from 1.

        Returns:
            The row.

        Raises:
            ValueError: Saying what is wrong with the record; the caller adds file and line.
        """
        record, others = _columns(record)
        if bad := _half_character(record) or _half_character(others):
            raise ValueError(f"{bad} holds half of a character (a lone surrogate)")
        layout = self._layout(record)
        current = _current(record, layout)
        content = layout.read(current)
        if not content.completion.strip():
            raise ValueError("the answer is empty")
        if layout.has_prompt and not content.instruction.strip() and not content.turns:
            raise ValueError("the prompt is empty")
        identity = self.mapping.get("id", "id")
        clean = self.mapping.get("clean") or next((name for name in CLEAN_COLUMNS if name in record), None)
        used = {*layout.used, *self.mapping.values(), identity, clean}
        meta = {key: value for key, value in record.items() if key not in used} | others
        right = record.get(clean) if clean else None
        parts = {"steps": content.steps, "answer": content.answer, "tools": content.tools}
        return Row(
            id=str(record[identity])
            if self.has_own_id(record)
            else content_id(content.instruction, content.context, content.turns, content.completion, **parts),
            instruction=content.instruction,
            completion=content.completion,
            context=content.context,
            turns=content.turns,
            clean_completion=str(right) if right and not is_missing(right) else None,
            meta=meta,
            source=source,
            line=line,
            **parts,
            layout=layout.name,
            unused=(*(key for key, value in meta.items() if not is_empty(value)), *content.unused),
        )

    def has_own_id(self, record: Record) -> bool:
        """Whether a record brings an id.

        Args:
            record: The record.

        Returns:
            True or False.
        """
        return not is_empty(record.get(self.mapping.get("id", "id")))

    def _layout(self, record: Record) -> Layout:
        """The layout of one record: the source's, or another one where the record has columns that only the other knows."""
        if self.mapping:
            return self.layout
        present = _present(record)
        if all(column in present for column in self.layout.required):
            return self.layout
        other = _layout_of(present)
        if other is None or self.layout.columns.issuperset(other.required):
            return self.layout
        return other


def _layout_of(present: Record) -> Layout | None:
    fitting = (
        layout
        for layout in LAYOUTS.values()
        if all(column in present for column in layout.required) and layout.fits(present)
    )
    return next(fitting, None)


def _present(record: Record) -> Record:
    return {column: value for column, value in record.items() if not is_missing(value)}


def _current(record: Record, layout: Layout) -> Record:
    return {column: value for column, value in record.items() if column in layout.columns}


def _columns(record: Record) -> tuple[Record, dict[str, Any]]:
    """A record, and the further columns that `Row.to_record` kept apart."""
    others = record.get(OTHER_COLUMNS)
    if not isinstance(others, Mapping):
        return record, {}
    return {column: value for column, value in record.items() if column != OTHER_COLUMNS}, dict(others)


def _checked(mapping: Mapping[str, str], columns: Iterable[str], *, where: str) -> dict[str, str]:
    for role, column in mapping.items():
        if role not in ROLES:
            raise ConfigError(f"Unknown role '{role}' in the column mapping.", where=where, remedy=nearest(role, ROLES))
        if column not in columns:
            raise ConfigError(
                f"There is no column '{column}' (mapped to '{role}').", where=where, remedy=nearest(column, columns)
            )
    if not {"completion", "messages", "text"} & mapping.keys():
        raise ConfigError(
            "The column mapping names no answer.", where=where, remedy="map 'completion', 'messages' or 'text'"
        )
    return dict(mapping)


def _mapped(mapping: Mapping[str, str]) -> Layout:
    """The layout that a mapping describes."""
    roles = {role: column for role, column in mapping.items() if role not in ("id", "clean")}

    def read(record: Record) -> Content:
        renamed = {role: record[column] for role, column in roles.items() if column in record}
        if "messages" in roles:
            return read_conversation(renamed, "messages")
        if "text" in roles:
            return Content("", text_of(record, roles["text"]))
        text_of(record, roles["completion"])
        if "instruction" in roles:
            text_of(record, roles["instruction"])
        else:
            renamed["instruction"] = ""
        return read_instruction(renamed, "context", "completion")

    return Layout(
        name="columns as mapped",
        required=tuple(roles.values()),
        read=read,
        prompt="as mapped",
        learned="as mapped",
        has_prompt=not roles.keys().isdisjoint(("instruction", "messages")),
    )


def _half_character(value: Any, place: str = "") -> str | None:
    """Where in a value a lone surrogate stands, which no text encoding can write."""
    if isinstance(value, str):
        if value.isascii():
            return None
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"the column '{place}'" if place else "the name of a column"
        return None
    if isinstance(value, Mapping):
        for key, item in value.items():
            found = _half_character(str(key)) or _half_character(item, place or str(key))
            if found:
                return found
    elif isinstance(value, list | tuple):
        return next((found for item in value if (found := _half_character(item, place))), None)
    return None
