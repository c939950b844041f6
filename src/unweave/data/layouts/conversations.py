"""Lists of messages, in OpenAI's keys and in ShareGPT's: what all layouts of conversations share."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unweave.data.layouts.base import Content, Record, is_missing, list_of, system_turn, tools_of
from unweave.data.turns import Turn

SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
}
"""Names of speakers in ShareGPT files and the roles of chat templates; others stand for themselves."""

KEPT = {
    "assistant": ("tool_calls", "reasoning_content", "reasoning", "thinking", "weight"),
    "tool": ("name", "tool_call_id"),
}
"""Keys of a message, beside role and content, that chat templates read."""


def read_conversation(record: Record, column: str) -> Content:
    """The content of a record whose conversation is one list.

    Args:
        record: The record.
        column: The column of the list; `system` and `tools` are looked for beside it.

    Returns:
        The content.

    Raises:
        ValueError: When it is no conversation that ends with an answer.
    """
    messages = list_of(record, column)
    if not messages:
        raise ValueError(f"'{column}' is not a list of messages")
    turns, unused = read_turns(messages, column)
    system = system_turn(record)
    if system and any(turn.role == "system" for turn in turns):
        if turns[0] != system[0]:
            raise ValueError(f"the system text in a column and the system turn of '{column}' differ")
        system = ()
    return as_content([*system, *turns], column, tools=tools_of(record), unused=unused)


def read_turns(messages: Sequence[Any], column: str) -> tuple[list[Turn], tuple[str, ...]]:
    """The turns of a list of messages.

    Args:
        messages: Objects with `role` and `content`, or with `from` and `value`.
        column: Their column, for messages.

    Returns:
        The turns, and the keys that are of no use.

    Raises:
        ValueError: When one is no message.
    """
    turns, unused = [], {}
    for message in messages:
        if not isinstance(message, Mapping) or is_missing(message.get("role", message.get("from"))):
            raise ValueError(f"a message in '{column}' needs 'role' and a text 'content' ('from' and 'value')")
        speaker = str(message.get("role", message.get("from")))
        role = SPEAKERS.get(speaker, speaker)
        turns.append(_turn(message, speaker, role))
        expected = {"role", "content", "from", "value", "function_call", *KEPT.get(role, ())}
        unused |= {
            f"{column}[].{key}": None for key, value in message.items() if key not in expected and not is_missing(value)
        }
    return turns, tuple(unused)


def as_content(
    turns: Sequence[Turn], column: str, *, tools: tuple[Any, ...] = (), unused: tuple[str, ...] = ()
) -> Content:
    """The content of a list of turns: what is before the last user turn, that turn, what is between it and the answer, the answer.

    Args:
        turns: The turns.
        column: Their column, for messages.
        tools: The tools that may be called.
        unused: Keys of no use.

    Returns:
        The content.

    Raises:
        ValueError: When the turns do not end with an answer to a user turn, or no answer is to be learned.
    """
    if not turns or turns[-1].role != "assistant" or all(turn.role != "user" for turn in turns):
        raise ValueError(f"'{column}' must hold a user turn and end with an assistant turn")
    if not any(turn.is_learned for turn in turns):
        raise ValueError(f"no answer in '{column}' is to be learned: each has the weight 0")
    last = max(place for place, turn in enumerate(turns) if turn.role == "user")
    answer = turns[-1]
    return Content(
        instruction=turns[last].content,
        completion=answer.content,
        turns=tuple(turns[:last]),
        steps=tuple(turns[last + 1 : -1]),
        answer=answer.extra,
        tools=tools,
        unused=unused,
    )


def unlearned(turns: Sequence[Turn]) -> list[Turn]:
    """Turns whose answers only condition.

    Args:
        turns: The turns.

    Returns:
        The same turns, each assistant's with the weight 0.
    """
    return [
        Turn(turn.role, turn.content, {**turn.extra, "weight": 0}) if turn.role == "assistant" else turn
        for turn in turns
    ]


def _turn(message: Mapping[str, Any], speaker: str, role: str) -> Turn:
    extra: dict[str, Any] = {key: message[key] for key in KEPT.get(role, ()) if not is_missing(message.get(key))}
    content = _content(message.get("content", message.get("value")))
    if speaker == "function_call":
        extra["tool_calls"], content = _calls(content or ""), None
    elif role == "assistant" and not is_missing(message.get("function_call")):
        extra["tool_calls"] = [message["function_call"]]
    if "tool_calls" in extra:
        extra["tool_calls"] = [_call(call) for call in _listed(extra["tool_calls"])]
        if not extra["tool_calls"]:
            del extra["tool_calls"]
    weight = extra.pop("weight", 1)
    if weight not in (0, 1):
        raise ValueError(f"the weight of a message is 0 or 1, not {weight!r}")
    if weight == 0:
        extra["weight"] = 0
    if content is None:
        if "tool_calls" not in extra:
            raise ValueError(f"a message of role '{role}' has neither a text 'content' nor tool calls")
        calls = [call.get("function", call) for call in extra["tool_calls"]]
        return Turn(role, "\n".join(json.dumps(call, ensure_ascii=False) for call in calls), {**extra, "content": None})
    return Turn(role, content, extra)


def _content(value: Any) -> str | None:
    """The text of a message; of a list of parts, their texts one after the other."""
    if is_missing(value):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "".join(_part(part) for part in value)
    raise ValueError(f"the content of a message is a {type(value).__name__}, not text")


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise ValueError(f"a part of a message is of type '{kind}', not text")


def _calls(text: str) -> list[Any]:
    """The calls that ShareGPT files write as JSON text."""
    try:
        calls = json.loads(text)
    except json.JSONDecodeError:
        raise ValueError("a function call is not valid JSON") from None
    return calls if isinstance(calls, list) else [calls]


def _listed(calls: Any) -> list[Any]:
    if not isinstance(calls, list | tuple):
        raise ValueError("'tool_calls' is not a list")
    return list(calls)


def _call(call: Any) -> dict[str, Any]:
    """A tool call with its arguments as an object, which templates write out; OpenAI's files hold them as JSON text."""
    if not isinstance(call, Mapping):
        raise ValueError("a tool call is not a JSON object")
    call = {key: value for key, value in call.items() if not is_missing(value)}
    function = call.get("function", call)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueError("a tool call has no name")
    function = dict(function)
    if isinstance(function.get("arguments"), str):
        try:
            function["arguments"] = json.loads(function["arguments"] or "{}")
        except json.JSONDecodeError:
            raise ValueError(f"the arguments of the call of '{function['name']}' are not valid JSON") from None
    return {**call, "function": function} if "function" in call else {"type": "function", "function": function}
