"""A turn of a conversation, as layouts make it and rows hold it."""

from collections.abc import Mapping
from typing import Any

OTHER_COLUMNS = "other_columns"
"""Where `Row.to_record` keeps columns whose names have a meaning in some layout."""


class Turn(tuple[str, str]):
    """One turn of a conversation: a pair of role and content, and what else its message holds.

    Args:
        role: Who speaks.
        content: The text.
        extra: More keys of the message: `tool_calls`, `tool_call_id`, `name`, `reasoning_content`, or `weight`, which is 0 where an assistant's turn is
            not to be learned. A `content` of `None` here means that the message has none, and that the text stands for its tool calls.
    """

    extra: dict[str, Any]

    def __new__(cls, role: str, content: str, extra: Mapping[str, Any] | None = None) -> "Turn":
        """A pair that knows more.

        Args:
            role: Who speaks.
            content: The text.
            extra: More keys of the message.

        Returns:
            The turn.
        """
        self = super().__new__(cls, (role, content))
        self.extra = dict(extra or {})
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (*self, self.extra)

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other) is True and self.extra == getattr(other, "extra", {})

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return tuple.__hash__(self)

    @property
    def role(self) -> str:
        """Who speaks."""
        return self[0]

    @property
    def content(self) -> str:
        """The text."""
        return self[1]

    @property
    def is_learned(self) -> bool:
        """Whether this is an answer that carries loss."""
        return self.role == "assistant" and self.extra.get("weight") != 0

    def message(self) -> dict[str, Any]:
        """The turn as a chat template reads it.

        Returns:
            Role, content and the other keys; a content that is not there is left out.
        """
        message = {"role": self.role, "content": self.content, **self.extra}
        message.pop("weight", None)
        return {key: value for key, value in message.items() if value is not None}

    def record(self) -> dict[str, Any]:
        """The turn as JSON that `read_rows` reads back."""
        return {"role": self.role, "content": self.content, **self.extra}

    def canonical(self) -> list[Any]:
        """The turn in an id's hash."""
        return [self.role, self.content, *([self.extra] if self.extra else [])]
