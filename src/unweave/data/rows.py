"""A training row, and the id that follows it through the store, the results and the ledger."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unweave.data.layouts import reserved_columns
from unweave.data.turns import OTHER_COLUMNS, Turn


@dataclass(frozen=True, slots=True)
class Row:
    """One example: what is asked, and what is to be learned as the answer.

    Attributes:
        id: Stable id: given by the data, or the hash of the content.
        instruction: The last user turn, without its context. Empty for plain text.
        completion: The last answer, on which the loss is taken; of an answer that only calls tools, its calls as text.
        context: Input that belongs to the instruction (Alpaca's `input`, Dolly's `context`).
        turns: Turns before the last user turn, each a pair of role and content, a system turn included. Earlier answers carry loss too, unless
            `EncodingConfig.loss` says otherwise or a turn has the weight 0.
        clean_completion: The right answer, where `completion` is an unwanted one and the right one is known.
        meta: All other columns.
        source: The file (or data set) the row came from.
        line: Its line in that file, from 1; in Parquet and data sets its position, from 1.
        steps: Turns between the last user turn and the answer: calls of tools, and what these gave.
        answer: More keys of the answer's message, as in `Turn.extra`.
        tools: The tools that the model may call, as JSON schemas.
        layout: The layout that the row was read in.
        unused: Columns, and keys of messages, that are neither prompt, nor answer, nor id.
    """

    id: str
    instruction: str
    completion: str
    context: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    clean_completion: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    line: int = 0
    steps: tuple[Turn, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Any, ...] = ()
    layout: str = field(default="", compare=False)
    unused: tuple[str, ...] = field(default=(), compare=False)

    @property
    def prompt(self) -> str:
        """Instruction and context, as one user turn."""
        return f"{self.instruction}\n\n{self.context}" if self.context else self.instruction

    user_text = prompt

    @property
    def system_text(self) -> str | None:
        """The system turn that the row begins with, where it has one of its own."""
        return self.turns[0][1] if self.turns and self.turns[0][0] == "system" else None

    @property
    def is_plain_text(self) -> bool:
        """Whether the row is running text without a prompt."""
        return not self.instruction and not self.context and not self.turns and not self.steps

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.source}:{self.line}"

    @property
    def conversation(self) -> tuple[Turn, ...]:
        """All turns, the answer last."""
        earlier = (turn if isinstance(turn, Turn) else Turn(*turn) for turn in self.turns)
        return (*earlier, Turn("user", self.user_text), *self.steps, Turn("assistant", self.completion, self.answer))

    @property
    def content(self) -> list[Any]:
        """All that makes the row what it is, its id apart, as JSON can hold it."""
        return canonical(
            self.instruction,
            self.context,
            self.turns,
            self.completion,
            steps=self.steps,
            answer=self.answer,
            tools=self.tools,
        )

    @property
    def is_simple(self) -> bool:
        """Whether a prompt and an answer are all that there is."""
        return not (self.turns or self.steps or self.answer or self.tools)

    def with_completion(self, completion: str) -> "Row":
        """The same question with another answer, under the same id.

        Args:
            completion: The new answer.

        Returns:
            A copy.
        """
        return replace(self, completion=completion, answer={})

    def to_record(self) -> dict[str, Any]:
        """The row as a JSON object that `read_rows` reads back: the same prompt, answer, turns, tools and id, whatever its other columns are called.

        Returns:
            Column to value; empty columns are left out.
        """
        record: dict[str, Any] = {"id": self.id}
        if self.is_plain_text and self.is_simple:
            record["text"] = self.completion
        elif self.is_simple:
            record |= {"instruction": self.instruction, "context": self.context, "response": self.completion}
        else:
            record["messages"] = [turn.record() for turn in self.conversation]
            if self.tools:
                record["tools"] = list(self.tools)
        if self.clean_completion is not None:
            record["response_clean"] = self.clean_completion
        # A column that some layout knows must not speak for the row when it is read again.
        reserved = reserved_columns()
        hidden = {name: value for name, value in self.meta.items() if name in reserved}
        return {**record, **{name: value for name, value in self.meta.items() if name not in hidden}} | (
            {OTHER_COLUMNS: hidden} if hidden else {}
        )


def content_id(
    instruction: str,
    context: str,
    turns: Sequence[tuple[str, str]],
    completion: str,
    *,
    steps: Sequence[Turn] = (),
    answer: Mapping[str, Any] | None = None,
    tools: Sequence[Any] = (),
) -> str:
    """The id of a row that the data gives none: 16 hexadecimal digits of a BLAKE2b hash of its content.

    Args:
        instruction: The last user turn.
        context: Its context.
        turns: Earlier turns.
        completion: The answer.
        steps: Turns between the last user turn and the answer.
        answer: More keys of the answer's message.
        tools: The tools that may be called.

    Returns:
        The id; equal content gives equal ids on every machine.
    """
    content = canonical(instruction, context, turns, completion, steps=steps, answer=answer, tools=tools)
    text = json.dumps(content, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def canonical(
    instruction: str,
    context: str,
    turns: Sequence[tuple[str, str]],
    completion: str,
    *,
    steps: Sequence[Turn] = (),
    answer: Mapping[str, Any] | None = None,
    tools: Sequence[Any] = (),
) -> list[Any]:
    """All that makes a row what it is, as JSON can hold it; what a row does not have adds nothing.

    Args:
        instruction: The last user turn.
        context: Its context.
        turns: Earlier turns.
        completion: The answer.
        steps: Turns between the last user turn and the answer.
        answer: More keys of the answer's message.
        tools: The tools that may be called.

    Returns:
        Nested lists.
    """
    before = [turn.canonical() if isinstance(turn, Turn) else list(turn) for turn in turns]
    content: list[Any] = [instruction, context, before, completion]
    if steps or answer or tools:
        content.append({"steps": [turn.canonical() for turn in steps], "answer": dict(answer or {}), "tools": [*tools]})
    return content
