"""Questions to trace: rows whose answers may be missing, and are then for a model to give."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from unweave.data.config import ReadingConfig
from unweave.data.layouts import LAYOUTS, Layout, Record
from unweave.data.layouts.base import is_empty, is_missing
from unweave.data.reading import Rows
from unweave.data.remembered import Columns, read_remembering
from unweave.data.sources import Prepared

OPEN = "\N{WHITE SQUARE}unweave: an answer is missing here\N{WHITE SQUARE}"
"""Stands for an answer while a question is read as a row."""

ASKING = ("user", "human", "tool", "observation", "function_response")
"""Speakers after whom an answer comes."""


def read_questions(source: Any, config: ReadingConfig, remembered: Sequence[Columns]) -> Rows:
    """Read rows of which some may be a question only: a conversation that ends before its answer, or a prompt by itself.

    Args:
        source: The rows.
        config: The options.
        remembered: Role to column, of other files.

    Returns:
        The rows, and the report; the completion of an open question is empty.
    """
    mappings = [config.columns] if config.columns else remembered
    prepare = partial(_answered, mappings=mappings, is_mapped=config.columns is not None)
    rows = read_remembering(Prepared(source, prepare), config, remembered)
    return replace(rows, rows=[row.with_completion("") if row.completion == OPEN else row for row in rows])


def _answered(record: Record, *, mappings: Sequence[Columns], is_mapped: bool) -> Record:
    """A record with a placeholder where its answer is missing."""
    # An answer's column that is there and empty says that one is missing, whatever else the record could be read as.
    is_blank = any(record.get(layout.required[1]) == "" for layout in _open_layouts(record))
    if not is_mapped and not is_blank and any(_is_whole(record, layout) for layout in LAYOUTS.values()):
        return _conversation(record, ("messages", "conversations"))
    for mapping in mappings:
        if "messages" in mapping:
            longer = _conversation(record, (mapping["messages"],))
            if longer is not record or is_mapped:
                return longer
        elif _is_open(record, mapping.get("instruction"), mapping.get("completion")):
            return {**record, mapping["completion"]: OPEN}
    if is_mapped:
        return record
    # An answer's empty column, or a context beside the question, shows which layout is meant.
    best = max(_open_layouts(record), key=lambda layout: len(layout.columns & record.keys()), default=None)
    return record if best is None else {**record, best.required[1]: OPEN}


def _open_layouts(record: Record) -> list[Layout]:
    """Layouts of a prompt and an answer in which a record is a question only."""
    return [
        layout
        for layout in LAYOUTS.values()
        if len(layout.required) == 2
        and not layout.kept
        and _is_open(record, *layout.required)
        and layout.fits(_present({**record, layout.required[1]: OPEN}))
    ]


def _is_open(record: Record, prompt: str | None, answer: str | None) -> bool:
    """Whether a record has a prompt and no answer."""
    return bool(prompt and answer and not is_empty(record.get(prompt)) and is_empty(record.get(answer)))


def _is_whole(record: Record, layout: Layout) -> bool:
    return not any(is_empty(record.get(column)) for column in layout.required) and layout.fits(_present(record))


def _present(record: Record) -> Record:
    return {column: value for column, value in record.items() if not is_missing(value)}


def _conversation(record: Record, columns: Sequence[str]) -> Record:
    """A record whose conversation gets a last turn where it ends before its answer."""
    for column in columns:
        turns = record.get(column)
        if isinstance(turns, list | tuple) and turns and isinstance(turns[-1], Mapping):
            if turns[-1].get("role", turns[-1].get("from")) in ASKING:
                return {**record, column: [*turns, {"role": "assistant", "content": OPEN}]}
            return record
    return record
