"""Which column of a data set is what: the conventions that are recognised without being told, and mappings for the rest."""

from collections.abc import Collection, Mapping
from typing import Any

from unweave.data.rows import Row, content_id
from unweave.errors import ConfigError, nearest

ROLES = ("instruction", "context", "completion", "messages", "text", "clean", "id")

CONVENTIONS: dict[str, dict[str, str]] = {
    "messages": {"messages": "messages"},
    "prompt/completion": {"instruction": "prompt", "completion": "completion"},
    "Alpaca": {"instruction": "instruction", "context": "input", "completion": "output"},
    "Dolly": {"instruction": "instruction", "context": "context", "completion": "response"},
    "question/answer": {"instruction": "question", "completion": "answer"},
    "text": {"text": "text"},
}
"""Conventions in the order in which they are tried; a context column may be absent."""

CLEAN_COLUMNS = ("completion_clean", "output_clean", "response_clean", "answer_clean")


def recognise(columns: set[str], mapping: Mapping[str, str] | None, *, where: str) -> dict[str, str]:
    """Decide which column plays which role.

    Args:
        columns: The columns that the data has.
        mapping: Role to column, as the user gave it; `None` to recognise a convention. Roles are `ROLES`.
        where: The file, for the error message.

    Returns:
        Role to column.

    Raises:
        ConfigError: When no convention fits, or a mapped role or column does not exist.
    """
    if mapping:
        roles = dict(mapping)
        for role, column in roles.items():
            if role not in ROLES:
                raise ConfigError(
                    f"Unknown role '{role}' in the column mapping.", where=where, remedy=nearest(role, ROLES)
                )
            if column not in columns:
                raise ConfigError(
                    f"There is no column '{column}' (mapped to '{role}').", where=where, remedy=nearest(column, columns)
                )
        if not {"completion", "messages", "text"} & roles.keys():
            raise ConfigError(
                "The column mapping names no answer.", where=where, remedy="map 'completion', 'messages' or 'text'"
            )
    else:
        for convention in CONVENTIONS.values():
            if all(column in columns for role, column in convention.items() if role != "context"):
                roles = {role: column for role, column in convention.items() if column in columns}
                break
        else:
            raise ConfigError(
                f"No known layout in the columns {', '.join(sorted(columns)) or '(none)'}.",
                where=where,
                remedy=f"use the columns of one of {', '.join(CONVENTIONS)}, or map yours: --columns instruction YOURS completion YOURS",
            )
    roles.setdefault("id", "id")
    clean = clean_column(columns - set(roles.values()))
    if clean and "clean" not in roles:
        roles["clean"] = clean
    return roles


def clean_column(columns: Collection[str]) -> str | None:
    """The column that holds right answers beside unwanted ones.

    Args:
        columns: Those there are, and that have no other role.

    Returns:
        Its name, or `None`.
    """
    return next((column for column in CLEAN_COLUMNS if column in columns), None)


def to_row(record: Mapping[str, Any], roles: Mapping[str, str], *, source: str, line: int) -> Row:
    """Make a row of one record.

    Args:
        record: Column to value.
        roles: Role to column, from `recognise`.
        source: The file.
        line: The line in it, from 1.

    Returns:
        The row.

    Raises:
        ValueError: Saying what is wrong with the record; the caller adds file and line.
    """
    used = set(roles.values())
    meta = {key: value for key, value in record.items() if key not in used}
    turns: tuple[tuple[str, str], ...] = ()
    context = ""
    if "messages" in roles:
        turns, instruction, completion = _conversation(record.get(roles["messages"]))
    elif "text" in roles:
        instruction, completion = "", _text(record, roles["text"])
    else:
        instruction = _text(record, roles["instruction"]) if "instruction" in roles else ""
        completion = _text(record, roles["completion"])
        context = _text(record, roles["context"], required=False) if "context" in roles else ""
    if not completion.strip():
        raise ValueError("the answer is empty")
    if "instruction" in roles and not instruction.strip():
        raise ValueError("the prompt is empty")
    given = record.get(roles["id"])
    clean = record.get(roles["clean"]) if "clean" in roles else None
    return Row(
        id=str(given) if given not in (None, "") else content_id(instruction, context, turns, completion),
        instruction=instruction,
        completion=completion,
        context=context,
        turns=turns,
        clean_completion=str(clean) if clean else None,
        meta=meta,
        source=source,
        line=line,
    )


def _text(record: Mapping[str, Any], column: str, *, required: bool = True) -> str:
    """The text in a column; numbers are written out, everything else is an error."""
    value = record.get(column)
    if value is None:
        if required:
            raise ValueError(f"the column '{column}' is missing")
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"the column '{column}' holds a {type(value).__name__}, not text")


def _conversation(messages: Any) -> tuple[tuple[tuple[str, str], ...], str, str]:
    """Earlier turns, the last user turn, and the last answer of a list of messages."""
    if messages is None or not hasattr(messages, "__iter__") or isinstance(messages, str):
        raise ValueError("'messages' is not a list of messages")
    pairs = []
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str) or "role" not in message:
            raise ValueError("a message needs 'role' and a text 'content'")
        pairs.append((str(message["role"]), str(message["content"])))
    if len(pairs) < 2 or pairs[-1][0] != "assistant" or pairs[-2][0] != "user":
        raise ValueError("'messages' must end with a user turn and an assistant turn")
    return tuple(pairs[:-2]), pairs[-2][1], pairs[-1][1]
