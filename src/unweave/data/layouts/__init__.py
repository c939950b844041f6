"""How data sets lay out their rows: one file a family, one line of the registry each."""

from functools import lru_cache

from unweave.data.layouts.alpaca import ALPACA
from unweave.data.layouts.base import Content, Layout, Record
from unweave.data.layouts.completion import COMPLETION
from unweave.data.layouts.dolly import DOLLY
from unweave.data.layouts.labels import LABELS
from unweave.data.layouts.messages import MESSAGES
from unweave.data.layouts.pairs import PAIRS
from unweave.data.layouts.preference import PREFERENCE, PREFERENCES_AFTER
from unweave.data.layouts.question import QUESTION
from unweave.data.layouts.sharegpt import SHAREGPT
from unweave.data.layouts.text import TEXT
from unweave.data.turns import OTHER_COLUMNS

__all__ = ["CLEAN_COLUMNS", "LAYOUTS", "Content", "Layout", "Record", "reserved_columns"]

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        MESSAGES,
        COMPLETION,
        ALPACA,
        DOLLY,
        QUESTION,
        *PREFERENCES_AFTER,
        SHAREGPT,
        PREFERENCE,
        *PAIRS,
        LABELS,
        TEXT,
    )
}
"""Name to layout, in the order in which they are tried; a new one is one file and one line here."""

CLEAN_COLUMNS = ("completion_clean", "output_clean", "response_clean", "answer_clean")
"""Columns of the right answer beside an unwanted one."""


def reserved_columns() -> frozenset[str]:
    """The columns that have a meaning in some layout.

    Returns:
        Their names.
    """
    return _reserved(tuple(LAYOUTS.values()))


@lru_cache(maxsize=1)
def _reserved(layouts: tuple[Layout, ...]) -> frozenset[str]:
    columns = frozenset().union(*(layout.columns for layout in layouts))
    return columns | {"id", OTHER_COLUMNS, *CLEAN_COLUMNS}
