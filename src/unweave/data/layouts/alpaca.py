"""Alpaca's layout, with LLaMA-Factory's `system` and `history`."""

from collections.abc import Sequence
from typing import Any

from unweave.data.layouts.base import SYSTEM, Content, Layout, Record, list_of, system_turn, text_of, tools_of
from unweave.data.turns import Turn


def read_instruction(record: Record, context: str, answer: str, *, instruction: str = "instruction") -> Content:
    """The content of an instruction with its context, and of the turns that other columns hold.

    Args:
        record: The record; a system text, `history` and `tools` are further columns.
        context: The context's column.
        answer: The answer's column.
        instruction: The instruction's column.

    Returns:
        The content.
    """
    earlier = [turn for pair in list_of(record, "history") for turn in _pair(pair)]
    return Content(
        text_of(record, instruction),
        text_of(record, answer),
        text_of(record, context, required=False),
        turns=(*system_turn(record), *earlier),
        tools=tools_of(record),
    )


def _pair(pair: Any) -> list[Turn]:
    if not isinstance(pair, Sequence) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
        raise ValueError("the column 'history' holds something else than pairs of a question and an answer")
    return [Turn("user", pair[0]), Turn("assistant", pair[1])]


ALPACA = Layout(
    name="Alpaca",
    required=("instruction", "output"),
    optional=("input", *SYSTEM, "history", "tools"),
    read=lambda record: read_instruction(record, "input", "output"),
    prompt="`instruction` and `input`, after `system` and `history`",
    learned="`output`, and the answers of `history`",
)
