"""What a layout is, and what it makes of a record."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unweave.data.turns import Turn

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Content:
    """What a record says, whatever its layout; the fields are those of `Row`.

    Attributes:
        instruction: The last user turn.
        completion: The answer.
        context: What belongs to the instruction.
        turns: Turns before the last user turn.
        steps: Turns between it and the answer.
        answer: More keys of the answer's message.
        tools: The tools that may be called.
        unused: Keys inside of columns that are of no use.
    """

    instruction: str
    completion: str
    context: str = ""
    turns: tuple[Turn, ...] = ()
    steps: tuple[Turn, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Any, ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A way in which data sets lay out their rows.

    Attributes:
        name: Its name, for people.
        required: Columns that it needs.
        optional: Columns that it uses where they are there.
        read: Makes content of a record; a `ValueError` says what is wrong with it.
        prompt: What the prompt is, for the table of layouts.
        learned: What is learned, for the table of layouts.
        trl: Which of TRL's formats it is, or reads like, for the table of layouts; empty where TRL has none.
        kept: Columns that it is known by, but does not use.
        fits: Whether the values of a record are such that the layout may be meant.
        has_prompt: Whether its rows have one.
    """

    name: str
    required: tuple[str, ...]
    read: Callable[[Record], Content]
    prompt: str
    learned: str
    optional: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    trl: str = ""
    fits: Callable[[Record], bool] = lambda _: True
    has_prompt: bool = True

    @property
    def columns(self) -> frozenset[str]:
        """All columns that it knows."""
        return frozenset((*self.required, *self.optional))

    @property
    def used(self) -> frozenset[str]:
        """The columns that it makes a row of."""
        return self.columns.difference(self.kept)


def is_missing(value: Any) -> bool:
    """Whether a value is as good as none: `null`, or the NaN that data frames put in its place.

    Args:
        value: From a record.

    Returns:
        True or False.
    """
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_empty(value: Any) -> bool:
    """Whether a value is missing, or holds nothing.

    Args:
        value: From a record.

    Returns:
        True or False.
    """
    return is_missing(value) or (isinstance(value, str | list | tuple | Mapping) and len(value) == 0)


def text_of(record: Record, column: str, *, required: bool = True) -> str:
    """The text in a column; numbers are written out.

    Args:
        record: The record.
        column: The column.
        required: Whether its absence is an error.

    Returns:
        The text, empty where there is none.

    Raises:
        ValueError: When the column is missing, or holds something else than text.
    """
    value = record.get(column)
    if is_missing(value):
        if required:
            raise ValueError(f"the column '{column}' is missing")
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"the column '{column}' holds a {type(value).__name__}, not text")


def list_of(record: Record, column: str) -> list[Any]:
    """The list in a column; one that is written as JSON text, as CSV files must, is read.

    Args:
        record: The record.
        column: The column.

    Returns:
        The list, empty where there is none.

    Raises:
        ValueError: When the column holds something else.
    """
    value = record.get(column)
    if is_missing(value) or value == "":
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError(f"the column '{column}' holds text that is no list in JSON") from None
    if not isinstance(value, list | tuple):
        raise ValueError(f"the column '{column}' holds a {type(value).__name__}, not a list")
    return list(value)


def tools_of(record: Record) -> tuple[Any, ...]:
    """The tools of a record: a list of JSON schemas, or the JSON text of one.

    Args:
        record: The record; its column is `tools`.

    Returns:
        The tools.

    Raises:
        ValueError: When one is no object.
    """
    tools = tuple(list_of(record, "tools"))
    if any(not isinstance(tool, Mapping) for tool in tools):
        raise ValueError("the column 'tools' holds something else than JSON objects")
    return tools


SYSTEM = ("system", "system_prompt")
"""Columns of a system text."""


def system_turn(record: Record) -> tuple[Turn, ...]:
    """The system turn that a column of its own holds.

    Args:
        record: The record; its columns are those of `SYSTEM`.

    Returns:
        One turn, or none.

    Raises:
        ValueError: When two columns hold different texts.
    """
    texts = {text for column in SYSTEM if (text := text_of(record, column, required=False)).strip()}
    if len(texts) > 1:
        raise ValueError(f"the columns {' and '.join(repr(column) for column in SYSTEM)} differ")
    return tuple(Turn("system", text) for text in texts)


def pair_reader(prompt: str, answer: str, *, context: str | None = None) -> Callable[[Record], Content]:
    """A reader of rows with a prompt and an answer, both text, under a system text where there is one.

    Args:
        prompt: The prompt's column.
        answer: The answer's column.
        context: The column of what belongs to the prompt.

    Returns:
        The reader.
    """

    def read(record: Record) -> Content:
        given = text_of(record, context, required=False) if context else ""
        return Content(text_of(record, prompt), text_of(record, answer), given, turns=system_turn(record))

    return read
