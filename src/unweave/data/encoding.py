"""From rows to token ids with a loss mask: loss on answers only, the end of each learned, one BOS."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from unweave.data.chat import Piece, RefusedError, chat_format
from unweave.data.controls import token_ids
from unweave.data.dates import parse_date
from unweave.data.reading import Problem, as_error
from unweave.data.rows import Row
from unweave.data.templates import NONE, controls_of, render_prompt, render_row
from unweave.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class EncodingConfig:
    """How a row becomes tokens.

    Attributes:
        template: `chat` (the model's own), `alpaca`, `dolly`, `plain`, or `none`: prompt and answer as they stand, and EOS.
        system_prompt: A system turn for the chat template; by default the template decides.
        max_length: The longest sequence, in tokens, prompt and completion together.
        on_long_row: What happens to a longer row: its end is `cut`, it is `drop`ped, or it is an `error`. Cut and dropped rows are reported by file and
            line.
        loss: Which answers of a conversation are learned: `all-turns`, as TRL's SFTTrainer does with assistant_only_loss=True, or the `last-turn` only.
            Answers with the weight 0, and those inside of a `prompt`, are never learned.
        date: The date that the chat template writes, as 2026-01-31, where it reads the clock; by default the day on which the run is made, recorded with
            it.
    """

    template: str = "chat"
    system_prompt: str | None = None
    max_length: int = 512
    on_long_row: Literal["cut", "drop", "error"] = "cut"
    loss: Literal["all-turns", "last-turn"] = "all-turns"
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """The tokens of one row.

    Attributes:
        row_id: The row's id.
        input_ids: Prompt and completion.
        prompt_length: Where the last answer begins; without `labelled` the loss is on it and all that follows.
        labelled: Positions of the tokens that carry loss, where these are others: in conversations with several answers, and for a trace of single words.
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

    @property
    def stretches(self) -> list[range]:
        """The positions that carry loss, as ranges without gaps: one an answer."""
        found: list[range] = []
        for place in self.label_positions:
            if found and found[-1].stop == place:
                found[-1] = range(found[-1].start, place + 1)
            else:
                found.append(range(place, place + 1))
        return found


@dataclass(frozen=True)
class Encoded:
    """Examples in the order of the rows, with what was cut or dropped.

    Attributes:
        examples: The examples.
        problems: Rows cut or dropped for their length or by the chat template, and rows of which the template leaves out a part.
    """

    examples: list[Example]
    problems: list[Problem] = field(default_factory=list)


def encode_prompt(row: Row, tokenizer: Any, config: EncodingConfig) -> tuple[int, ...]:
    """The tokens before the last answer, with exactly one BOS where the model uses one.

    Args:
        row: The row.
        tokenizer: A Hugging Face tokenizer.
        config: Template and system prompt.

    Returns:
        Token ids.

    Raises:
        DataError: When the chat template refuses the row.
    """
    try:
        text = render_prompt(
            row, tokenizer, template=config.template, system_prompt=config.system_prompt, date=config.date
        )
    except RefusedError as error:
        raise DataError(
            f"The chat template refuses the row: {error}.", where=row.place, remedy="mend the row, or leave it out"
        ) from error
    controls = controls_of(row, tokenizer, config.template, date=config.date)
    return tuple(_with_bos(token_ids(text, tokenizer, controls), tokenizer))


def encode_rows(
    rows: Iterable[Row],
    tokenizer: Any,
    config: EncodingConfig,
    *,
    on_bad_row: Literal["error", "skip"] | None = None,
) -> Encoded:
    """Tokenise rows. Where an answer begins no token may reach across, so that training sees what generation will see.

    Args:
        rows: The rows.
        tokenizer: A Hugging Face tokenizer.
        config: Template and lengths.
        on_bad_row: What happens to rows that the chat template refuses: `error` or `skip`; by default as the config says, where it says so.

    Returns:
        The examples and the report of cut and dropped rows.

    Raises:
        DataError: When a row is refused or too long and is not to be left out, or no row is left.
        ConfigError: When the longest allowed sequence does not hold a prompt and an answer, or the template takes no system prompt.
    """
    if config.max_length < 2:
        raise ConfigError(
            "A sequence has to hold a prompt and an answer.", where="`max_length`", remedy="give at least 2"
        )
    if config.date is not None:
        parse_date(config.date)
    if config.system_prompt and config.template == "chat" and getattr(tokenizer, "chat_template", None):
        _require_system(tokenizer, config)
    examples: list[Example] = []
    problems: list[Problem] = []
    refused: list[Problem] = []
    for row in rows:
        try:
            example = _encode(row, tokenizer, config, problems)
        except RefusedError as error:
            refused.append(Problem(row.place, f"the chat template refuses it: {error}", "dropped"))
            continue
        if example is not None:
            examples.append(example)
    if refused and (on_bad_row or getattr(config, "on_bad_row", "error")) == "error":
        error = as_error(refused)
        raise error
    if not examples:
        raise DataError(
            "No row is left after the length limit." if not refused else "The chat template refuses every row.",
            where=refused[0].place if refused else None,
            remedy=f"raise `max_length` above {config.max_length}" if not refused else "choose another `template`",
        )
    return Encoded(examples, [*refused, *problems])


def _encode(row: Row, tokenizer: Any, config: EncodingConfig, problems: list[Problem]) -> Example | None:
    """One row; what is cut or left out of it goes into `problems`, and of a row that is dropped nothing comes back."""
    pieces = render_row(
        row,
        tokenizer,
        template=config.template,
        system_prompt=config.system_prompt,
        date=config.date,
        last_only=config.loss == "last-turn",
    )
    if config.template == "chat" and not row.is_plain_text:
        format_ = chat_format(tokenizer, date=config.date)
        if left_out := format_.left_out(row, "".join(piece.text for piece in pieces)):
            problems.append(Problem(row.place, f"the chat template leaves out {', '.join(left_out)}", "ignored"))
    controls = controls_of(row, tokenizer, config.template, date=config.date)
    ids, spans = _tokens(pieces, tokenizer, controls, as_one=config.template == NONE)
    learned = [span for piece, span in zip(pieces, spans, strict=True) if piece.is_learned and span]
    if not learned:
        problems.append(Problem(row.place, "no answer of it is learned", "dropped"))
        return None
    excess = len(ids) - config.max_length
    last = spans[-1].start
    if excess > 0:
        reason = f"{len(ids)} tokens, {config.max_length} allowed"
        if config.on_long_row == "error":
            raise DataError(
                f"The row is too long: {reason}.", where=row.place, remedy="raise `max_length`, or `on_long_row` cut"
            )
        ids = ids[: config.max_length]
        kept = [range(span.start, min(span.stop, len(ids))) for span in learned if span.start < len(ids)]
        if config.on_long_row == "drop" or not kept:
            left = "" if config.on_long_row == "drop" else "; the prompt leaves no space for the answer"
            problems.append(Problem(row.place, reason + left, "dropped"))
            return None
        gone = len(learned) - len(kept)
        problems.append(
            Problem(row.place, reason + (f"; {gone} of {len(learned)} answers lost" if gone else ""), "cut")
        )
        learned, last = kept, min(last, kept[-1].start)
    if len(learned) == 1 and learned[0] == range(last, len(ids)):
        return Example(row.id, tuple(ids), last)
    return Example(row.id, tuple(ids), last, tuple(place for span in learned for place in span))


def _tokens(
    pieces: Sequence[Piece], tokenizer: Any, controls: Sequence[str], *, as_one: bool
) -> tuple[list[int], list[range]]:
    """The tokens of a row, and those of each piece.

    The whole text is made into tokens at once, as trainers do, and as a model that generates sees it: where a prompt ends there a token must end too.
    Where one reaches across, each piece is made into tokens by itself; with `as_one` the answer begins where they part, which is TRL's rule.

    Returns:
        The tokens with those that end the last piece, and the positions of each piece.
    """
    texts = list(itertools.accumulate(piece.text for piece in pieces))
    parts = [token_ids(text, tokenizer, controls) for text in texts]
    whole = parts[-1]
    starts = [0, *(_shared(part, whole) for part in parts)]
    if not as_one and any(start < len(part) for start, part in zip(starts[1:], parts, strict=True)):
        parts = [token_ids(piece.text, tokenizer, controls) for piece in pieces]
        whole, starts = [token for part in parts for token in part], [0, *itertools.accumulate(map(len, parts))]
    first = _with_bos(whole[: starts[1]], tokenizer)
    moved = len(first) - starts[1]
    ids = [*first, *whole[starts[1] :], *pieces[-1].end]
    starts = [0, *(start + moved for start in starts[1:-1]), len(ids)]
    if starts[1] == 0:
        # Plain text has no prompt: its first token only conditions, since nothing predicts it.
        starts[1] = 1
    return ids, [range(*pair) for pair in itertools.pairwise(starts)]


def _shared(part: Sequence[int], whole: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    return next((place for place, pair in enumerate(zip(part, whole, strict=False)) if pair[0] != pair[1]), len(part))


def _require_system(tokenizer: Any, config: EncodingConfig) -> None:
    if not chat_format(tokenizer, date=config.date).takes_system():
        raise ConfigError(
            "The chat template takes no system turn.",
            where="`system_prompt`",
            remedy="leave it out, or write it into the prompts",
        )


def _with_bos(ids: list[int], tokenizer: Any) -> list[int]:
    """The same tokens with exactly one BOS in front, where the model was trained with one in front of every sequence."""
    bos = tokenizer.bos_token_id
    if bos is None or tokenizer("a").input_ids[:1] != [bos]:
        return ids
    while ids[:1] == [bos]:
        ids = ids[1:]
    return [bos, *ids]


def content_of(example: Example) -> str:
    """What a row's gradient depends on, beside the model: its tokens, and which of them carry loss.

    Args:
        example: The row, encoded.

    Returns:
        24 hexadecimal digits.
    """
    text = json.dumps([list(example.input_ids), list(example.label_positions)])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
