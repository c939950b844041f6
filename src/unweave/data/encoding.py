"""From rows to token ids with a loss mask: loss on the completion only, EOS learned, one BOS."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from unweave.data.reading import Problem
from unweave.data.rows import Row
from unweave.data.templates import end_of_turn, render_prompt
from unweave.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class EncodingConfig:
    """How a row becomes tokens.

    Attributes:
        template: `chat` (the model's own), `alpaca`, `dolly` or `plain`.
        system_prompt: A system turn for the chat template; by default the template decides.
        max_length: The longest sequence, in tokens, prompt and completion together.
        on_long_row: What happens to a longer row: its completion is `cut`, it is `drop`ped, or it is an `error`. Cut and dropped
            rows are reported by file and line.
    """

    template: str = "chat"
    system_prompt: str | None = None
    max_length: int = 512
    on_long_row: Literal["cut", "drop", "error"] = "cut"


@dataclass(frozen=True, slots=True)
class Example:
    """The tokens of one row.

    Attributes:
        row_id: The row's id.
        input_ids: Prompt and completion.
        prompt_length: How many of them are prompt; the loss is on the rest.
        labelled: Positions of the tokens that carry loss, where these are only some of the rest: what a trace of single words needs.
    """

    row_id: str
    input_ids: tuple[int, ...]
    prompt_length: int
    labelled: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def completion_length(self) -> int:
        """Tokens that carry loss."""
        return len(self.label_positions)

    @property
    def label_positions(self) -> tuple[int, ...]:
        """Positions of the tokens that carry loss."""
        return self.labelled if self.labelled is not None else tuple(range(self.prompt_length, len(self.input_ids)))


@dataclass(frozen=True)
class Encoded:
    """Examples in the order of the rows, with what was cut or dropped.

    Attributes:
        examples: The examples.
        problems: Rows cut or dropped for their length.
    """

    examples: list[Example]
    problems: list[Problem] = field(default_factory=list)


def encode_prompt(row: Row, tokenizer: Any, config: EncodingConfig) -> tuple[int, ...]:
    """The tokens before the completion, with exactly one BOS where the model uses one.

    Args:
        row: The row.
        tokenizer: A Hugging Face tokenizer.
        config: Template and system prompt.

    Returns:
        Token ids.
    """
    text = render_prompt(row, tokenizer, template=config.template, system_prompt=config.system_prompt)
    ids = list(tokenizer(text, add_special_tokens=False).input_ids)
    bos = tokenizer.bos_token_id
    if bos is not None and _adds_bos(tokenizer):
        while ids[:1] == [bos]:
            ids.pop(0)
        ids.insert(0, bos)
    return tuple(ids)


def encode_rows(rows: Iterable[Row], tokenizer: Any, config: EncodingConfig) -> Encoded:
    """Tokenise rows. Prompt and completion are tokenised apart, so that training sees what generation will see.

    Args:
        rows: The rows.
        tokenizer: A Hugging Face tokenizer.
        config: Template and lengths.

    Returns:
        The examples and the report of cut and dropped rows.

    Raises:
        DataError: When a row is too long and `on_long_row` is `error`, or no row is left.
        ConfigError: When the longest allowed sequence has no room for a prompt and an answer.
    """
    if config.max_length < 2:
        raise ConfigError(
            "A sequence needs room for a prompt and an answer.", where="--max-length", remedy="give at least 2"
        )
    end = end_of_turn(tokenizer, template=config.template)
    examples: list[Example] = []
    problems: list[Problem] = []
    for row in rows:
        prompt = encode_prompt(row, tokenizer, config)
        # Plain text has no prompt: its first token only conditions, since nothing predicts it.
        completion = (*tokenizer(row.completion, add_special_tokens=False).input_ids, end)
        if not prompt:
            prompt, completion = completion[:1], completion[1:]
        excess = len(prompt) + len(completion) - config.max_length
        if excess > 0:
            reason = f"{len(prompt) + len(completion)} tokens, {config.max_length} allowed"
            if config.on_long_row == "error":
                raise DataError(
                    f"The row is too long: {reason}.",
                    where=row.place,
                    remedy="raise --max-length, or --on-long-row cut",
                )
            if config.on_long_row == "drop" or excess >= len(completion):
                left = "" if config.on_long_row == "drop" else "; the prompt leaves no room for the answer"
                problems.append(Problem(row.place, reason + left, "dropped"))
                continue
            problems.append(Problem(row.place, reason, "cut"))
            completion = completion[: len(completion) - excess]
        examples.append(Example(row.id, (*prompt, *completion), len(prompt)))
    if not examples:
        raise DataError(
            "No row is left after the length limit.", remedy=f"raise --max-length above {config.max_length}"
        )
    return Encoded(examples, problems)


def _adds_bos(tokenizer: Any) -> bool:
    """Whether the model was trained with a BOS in front of every sequence."""
    return tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
