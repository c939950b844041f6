"""TRL's preferences: of a chosen and a rejected answer the chosen one is learned, as supervised training would."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from unweave.data.layouts.base import Content, Layout, Record, is_missing, list_of, system_turn, text_of, tools_of
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


PREFERENCE = Layout(
    name="preference",
    required=("chosen", "rejected"),
    optional=("prompt", "system", "tools"),
    kept=("rejected",),
    read=_read,
    prompt="`prompt`, or what `chosen` and `rejected` begin with",
    learned="`chosen`; `rejected` stays a column that is not used",
    trl="preference, standard and conversational: the chosen side",
)
