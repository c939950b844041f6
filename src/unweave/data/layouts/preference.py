"""Preferences, as TRL and LLaMA-Factory have them: of a chosen and a rejected answer the chosen one is learned, as supervised training would."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from unweave.data.layouts.alpaca import read_instruction
from unweave.data.layouts.base import (
    SYSTEM,
    Content,
    Layout,
    Record,
    is_missing,
    list_of,
    system_turn,
    text_of,
    tools_of,
)
from unweave.data.layouts.completion import is_list, read_completion
from unweave.data.layouts.conversations import as_content, read_turns, unlearned


def _read(record: Record) -> Content:
    has_messages = is_list(record, "chosen")
    if not is_missing(record.get("prompt")) and (is_list(record, "prompt") or not has_messages):
        return read_completion(record, "prompt", "chosen")
    if not has_messages:
        return _read_text(text_of(record, "chosen"), text_of(record, "rejected"))
    chosen, unused = read_turns(list_of(record, "chosen"), "chosen")
    rejected, _ = read_turns(list_of(record, "rejected"), "rejected")
    # Of two equal answers the last turn is still what is learned.
    shared = min(_shared(chosen, rejected), len(chosen) - 1)
    turns = [*system_turn(record), *unlearned(chosen[:shared]), *chosen[shared:]]
    return as_content(turns, "chosen", tools=tools_of(record), unused=unused)


def _read_text(chosen: str, rejected: str) -> Content:
    """Of two texts the prompt is what both begin with, up to a space that belongs to the answer."""
    shared = _shared(chosen, rejected)
    if shared in (0, len(chosen)):
        raise ValueError("the column 'prompt' is missing, and 'chosen' and 'rejected' do not begin with a common one")
    shared -= chosen[shared - 1] == " "
    return Content(chosen[:shared], chosen[shared:])


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many items two sequences begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _read_conversation(record: Record) -> Content:
    before, unused = read_turns(list_of(record, "conversations"), "conversations")
    after, more = read_turns([record["chosen"]], "chosen")
    turns = [*system_turn(record), *unlearned(before), *after]
    return as_content(turns, "chosen", tools=tools_of(record), unused=(*unused, *more))


def _after(question: str, context: str) -> Layout:
    return Layout(
        name=f"preference after {question}",
        required=(question, "chosen", "rejected"),
        optional=(context, *SYSTEM, "history", "tools"),
        kept=("rejected",),
        read=lambda record: read_instruction(record, context, "chosen", instruction=question),
        prompt=f"`{question}` and `{context}`, after `system` and `history`",
        learned=LEARNED,
        # With a second prompt beside it, which one is meant is not for us to say.
        fits=lambda record: "prompt" not in record and not is_list(record, "chosen"),
    )


LEARNED = "`chosen`; `rejected` stays a column that is not used"

PREFERENCES_AFTER = (
    _after("instruction", "input"),
    _after("question", "context"),
    Layout(
        name="preference after conversations",
        required=("conversations", "chosen", "rejected"),
        optional=(*SYSTEM, "tools"),
        kept=("rejected",),
        read=_read_conversation,
        prompt="the turns of `conversations`",
        learned=LEARNED,
        fits=lambda record: isinstance(record["chosen"], Mapping),
    ),
)
"""LLaMA-Factory's two layouts, and pairs about questions."""

PREFERENCE = Layout(
    name="preference",
    required=("chosen", "rejected"),
    optional=("prompt", *SYSTEM, "tools"),
    kept=("rejected",),
    read=_read,
    prompt="`prompt`, or what `chosen` and `rejected` begin with",
    learned=LEARNED,
    trl="preference, standard and conversational: the chosen side",
)
