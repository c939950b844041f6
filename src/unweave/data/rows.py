"""A training row, and the id that follows it through the store, the results and the ledger."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One example: what is asked, and what is to be learned as the answer.

    Attributes:
        id: Stable id: given by the data, or the hash of the content.
        instruction: The last user turn, without its context. Empty for plain text.
        completion: What the loss is taken on.
        context: Input that belongs to the instruction (Alpaca's `input`, Dolly's `context`).
        turns: Earlier turns of the conversation as (role, content), a system turn included.
        clean_completion: The right answer, where `completion` is an unwanted one and the right one is known.
        meta: All other columns.
        source: The file (or data set) the row came from.
        line: Its line in that file, from 1; in Parquet and data sets its position, from 1.
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

    @property
    def user_text(self) -> str:
        """Instruction and context, as one user turn."""
        return f"{self.instruction}\n\n{self.context}" if self.context else self.instruction

    @property
    def is_plain_text(self) -> bool:
        """Whether the row is running text without a prompt."""
        return not self.instruction and not self.context and not self.turns

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.source}:{self.line}"

    def with_completion(self, completion: str) -> "Row":
        """The same question with another answer, under the same id.

        Args:
            completion: The new answer.

        Returns:
            A copy.
        """
        return replace(self, completion=completion)

    def to_record(self) -> dict[str, Any]:
        """The row as a JSON object that `read_rows` reads back.

        Returns:
            Column to value; empty columns are left out.
        """
        record: dict[str, Any] = {"id": self.id}
        if self.turns:
            record["messages"] = [
                *({"role": role, "content": content} for role, content in self.turns),
                {"role": "user", "content": self.user_text},
                {"role": "assistant", "content": self.completion},
            ]
        elif self.is_plain_text:
            record["text"] = self.completion
        else:
            record |= {"instruction": self.instruction, "context": self.context, "response": self.completion}
        if self.clean_completion is not None:
            record["response_clean"] = self.clean_completion
        return record | dict(self.meta)


def content_id(instruction: str, context: str, turns: tuple[tuple[str, str], ...], completion: str) -> str:
    """The id of a row that the data gives none: 16 hexadecimal digits of a BLAKE2b hash of its content.

    Args:
        instruction: The last user turn.
        context: Its context.
        turns: Earlier turns.
        completion: The answer.

    Returns:
        The id; equal content gives equal ids on every machine.
    """
    canonical = json.dumps([instruction, context, [list(turn) for turn in turns], completion], ensure_ascii=False)
    return hashlib.blake2b(canonical.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
