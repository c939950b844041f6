"""From a row to the text of its prompt: the model's chat template, or a plain template by name."""

from typing import Any

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


def render_prompt(row: Row, tokenizer: Any, *, template: str = "chat", system_prompt: str | None = None) -> str:
    """The text before the completion.

    Args:
        row: The row.
        tokenizer: A Hugging Face tokenizer; its chat template is used for `chat`.
        template: `chat`, or a name of `PLAIN_TEMPLATES`.
        system_prompt: A system turn for `chat`; `None` leaves the choice to the row, then to the chat template.

    Returns:
        The prompt, with the special tokens of the template written out. Empty for plain text.

    Raises:
        ConfigError: When the template is unknown, or the tokenizer has no chat template.
    """
    if row.is_plain_text:
        return ""
    if template != "chat":
        if template not in PLAIN_TEMPLATES:
            raise ConfigError(
                f"Unknown template '{template}'.",
                where="--template",
                remedy=nearest(template, ["chat", *PLAIN_TEMPLATES]),
            )
        if not row.is_simple:
            raise ConfigError(
                f"The template '{template}' has no place for earlier turns.",
                where=row.place,
                remedy="use --template chat for conversations",
            )
        without, with_context = PLAIN_TEMPLATES[template]
        return (with_context if row.context else without).format(instruction=row.instruction, context=row.context)
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            "This tokenizer has no chat template.",
            where=str(tokenizer.name_or_path),
            remedy=f"choose --template {', '.join(PLAIN_TEMPLATES)}",
        )
    messages = [turn.message() for turn in row.conversation[:-1]]
    if system_prompt is not None and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system_prompt})
    return tokenizer.apply_chat_template(
        messages, tools=list(row.tools) or None, tokenize=False, add_generation_prompt=True
    )


def end_of_turn(tokenizer: Any, *, template: str = "chat") -> int:
    """The token that ends an answer, and that training must teach.

    For chat it is the special token that the chat template puts behind an assistant turn (`<|im_end|>`, `<|eot_id|>`, ...), which
    in some models is not the tokenizer's EOS; for all else it is EOS.

    Args:
        tokenizer: A Hugging Face tokenizer.
        template: `chat`, or a name of `PLAIN_TEMPLATES`.

    Returns:
        A token id.

    Raises:
        ConfigError: When the tokenizer has no EOS.
    """
    if template == "chat" and getattr(tokenizer, "chat_template", None):
        marker = "unweave-marker"
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": marker}], tokenize=False
        )
        after = tokenizer(text[text.rindex(marker) + len(marker) :], add_special_tokens=False).input_ids
        special = set(tokenizer.all_special_ids)
        if after and after[0] in special:
            return after[0]
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            "The tokenizer has no end-of-sequence token.", where=str(tokenizer.name_or_path), remedy="set its eos_token"
        )
    return tokenizer.eos_token_id
