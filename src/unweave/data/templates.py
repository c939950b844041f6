"""From a row to its text: the model's chat template, or a plain template by name."""

from typing import Any

from unweave.data import controls
from unweave.data.chat import EndOfTurn, Piece, chat_format, eos_of
from unweave.data.controls import hold, is_control
from unweave.data.rows import Row
from unweave.errors import ConfigError, nearest

PLAIN_TEMPLATES: dict[str, tuple[str, str]] = {
    "alpaca": (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Response:\n",
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Input:\n{context}\n\n### Response:\n",
    ),
    "dolly": (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Response:\n",
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\nInput:\n{context}\n\n### Response:\n",
    ),
    "plain": ("{instruction}\n", "{instruction}\n\n{context}\n"),
}
"""Name to (template without context, template with context). The texts of `alpaca` and `dolly` are the formats that models were
trained on, fixed by their makers."""


NONE = "none"
"""The template that adds nothing: prompt, answer and EOS as they stand, made into tokens as one text."""

TEMPLATES = ("chat", *PLAIN_TEMPLATES, NONE)


def render_row(
    row: Row,
    tokenizer: Any,
    *,
    template: str = "chat",
    system_prompt: str | None = None,
    date: str | None = None,
    last_only: bool = False,
) -> list[Piece]:
    """A row as the model sees it, cut into what is prompt and what are answers.

    Args:
        row: The row.
        tokenizer: A Hugging Face tokenizer; its chat template is used for `chat`.
        template: A name of `TEMPLATES`.
        system_prompt: A system turn for `chat`; `None` leaves the choice to the row, then to the chat template.
        date: The date that a chat template writes, where it reads the clock.
        last_only: Whether of several answers only the last one is learned.

    Returns:
        The pieces in their order; the last one is the last answer, the one before it has no text where there is no prompt.
    """
    if template == "chat" and not row.is_plain_text:
        return chat_format(tokenizer, date=date).pieces(row, system_prompt=system_prompt, last_only=last_only)
    prompt = render_prompt(row, tokenizer, template=template, system_prompt=system_prompt, date=date)
    stop = end_of_turn(tokenizer, template=template, date=date).stop
    end = eos_of(tokenizer).ids if stop is None else (stop,)
    if template == NONE and row.completion.endswith(str(tokenizer.eos_token)):
        end = ()
    answer = hold(row.completion, controls_of(row, tokenizer, template))
    return [Piece(prompt), Piece(answer, is_answer=True, is_learned=True, end=end)]


def render_prompt(
    row: Row, tokenizer: Any, *, template: str = "chat", system_prompt: str | None = None, date: str | None = None
) -> str:
    """The text before the last answer: what a generation starts from, and what the template writes there when it writes out the whole conversation.

    Args:
        row: The row.
        tokenizer: A Hugging Face tokenizer; its chat template is used for `chat`.
        template: A name of `TEMPLATES`.
        system_prompt: A system turn for `chat`; `None` leaves the choice to the row, then to the chat template.
        date: The date that a chat template writes, where it reads the clock.

    Returns:
        The prompt, with the special tokens of the template written out, and those that the row itself holds held back (`controls.py`). Empty for plain
        text.

    Raises:
        ConfigError: When the template is unknown, has no place for what the row holds, or the tokenizer has no chat template.
    """
    if template not in TEMPLATES:
        raise ConfigError(f"Unknown template '{template}'.", where="`template`", remedy=nearest(template, TEMPLATES))
    if row.is_plain_text:
        return ""
    if template == "chat":
        return chat_format(tokenizer, date=date).prompt(row, system_prompt=system_prompt)
    if not row.is_simple:
        raise ConfigError(
            f"The template '{template}' has no place for earlier turns, system texts and tools.",
            where=row.place,
            remedy="use `template` chat for conversations",
        )
    if template == NONE:
        return row.user_text
    without, with_context = PLAIN_TEMPLATES[template]
    own = controls_of(row, tokenizer, template)
    return (with_context if row.context else without).format(
        instruction=hold(row.instruction, own), context=hold(row.context, own)
    )


def controls_of(row: Row, tokenizer: Any, template: str, *, date: str | None = None) -> tuple[str, ...]:
    """The tokens that have a meaning in a template, and are text where a row itself holds them.

    Args:
        row: The row; in plain text, and without a template, all tokens are what they are.
        tokenizer: A Hugging Face tokenizer.
        template: A name of `TEMPLATES`.
        date: The date that a chat template writes, where it reads the clock.

    Returns:
        The tokens.
    """
    if row.is_plain_text or template == NONE:
        return ()
    if template == "chat":
        return chat_format(tokenizer, date=date).controls
    own = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
    return tuple(dict.fromkeys(token for token in own if token and is_control(token)))


def typed(row: Row, tokenizer: Any, template: str, *, date: str | None = None) -> set[str]:
    """The control tokens that a row's own text holds; they are encoded as text.

    Args:
        row: The row.
        tokenizer: A Hugging Face tokenizer.
        template: A name of `TEMPLATES`.
        date: The date that a chat template writes, where it reads the clock.

    Returns:
        The tokens.
    """
    texts = [turn.message() for turn in row.conversation] + list(row.tools)
    return controls.typed(texts, controls_of(row, tokenizer, template, date=date))


def end_of_turn(tokenizer: Any, *, template: str = "chat", date: str | None = None) -> EndOfTurn:
    """What ends an answer, and what training must teach.

    For chat it is what the chat template puts behind an assistant turn (`<|im_end|>`, `<|eot_id|>`, ...), which in some models is not the tokenizer's EOS,
    nor flagged as special; for all else it is EOS.

    Args:
        tokenizer: A Hugging Face tokenizer.
        template: A name of `TEMPLATES`.
        date: The date that a chat template writes, where it reads the clock.

    Returns:
        Its tokens and its text.
    """
    if template == "chat" and getattr(tokenizer, "chat_template", None):
        return chat_format(tokenizer, date=date).end
    return eos_of(tokenizer)
