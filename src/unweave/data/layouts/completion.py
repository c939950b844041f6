"""TRL's prompt/completion: both text, or both lists of messages."""

from collections.abc import Mapping

from unweave.data.layouts.base import SYSTEM, Content, Layout, Record, list_of, system_turn, text_of, tools_of
from unweave.data.layouts.conversations import as_content, read_turns, unlearned
from unweave.data.turns import Turn


def read_completion(record: Record, prompt: str = "prompt", answer: str = "completion") -> Content:
    """The content of a prompt and what is learned after it; each text or a list of messages.

    Args:
        record: The record.
        prompt: The prompt's column.
        answer: The answer's column.

    Returns:
        The content.
    """
    if not is_list(record, prompt) and not is_list(record, answer):
        text, learned = text_of(record, prompt), text_of(record, answer)
        turns, tools = system_turn(record), tools_of(record)
        return Content(text, learned, turns=turns, tools=tools)
    before, unused = _turns(record, prompt, "user")
    after, more = _turns(record, answer, "assistant")
    # Answers inside of the prompt only condition, as in TRL.
    turns = [*system_turn(record), *unlearned(before), *after]
    return as_content(turns, answer, tools=tools_of(record), unused=(*unused, *more))


def is_list(record: Record, column: str) -> bool:
    """Whether a column holds messages, not text.

    Args:
        record: The record.
        column: The column.

    Returns:
        True or False.
    """
    value = record.get(column)
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)


def _turns(record: Record, column: str, role: str) -> tuple[list[Turn], tuple[str, ...]]:
    if not is_list(record, column):
        return [Turn(role, text_of(record, column))], ()
    return read_turns(list_of(record, column), column)


COMPLETION = Layout(
    name="prompt/completion",
    required=("prompt", "completion"),
    optional=(*SYSTEM, "tools"),
    read=read_completion,
    prompt="`prompt`: text, or messages",
    learned="`completion`: text, or each assistant turn of its messages",
    trl="prompt-completion, standard and conversational",
)
