"""Rows as a student reads them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unweave.data.encoding import EncodingConfig, encode_prompt
from unweave.data.rows import Row
from unweave.data.templates import end_of_turn

Text = str | tuple[str, str]
"""A row's prompt and answer; a string is all answer."""
DATE = "2024-07-26"
"""What a chat template that reads the clock writes: a student values a text the same on any day. Llama's templates write this one without a clock."""


def prompt_and_answer(row: Row) -> tuple[str, str]:
    """A row as a student reads it.

    Args:
        row: The row.

    Returns:
        Prompt and answer; the prompt of plain text is empty.
    """
    return row.user_text, row.completion


def answered(texts: Sequence[Text], tokenizer: Any, max_length: int, device: torch.device) -> dict[str, Tensor]:
    """Prompts and answers as a chat model was taught to read them, cut to size: a long prompt loses its beginning, a long answer its end.

    Args:
        texts: The texts.
        tokenizer: The model's.
        max_length: Tokens of a text.
        device: Where to.

    Returns:
        `input_ids`, `attention_mask`, and `answers`: 1 where the next token is one of the answer.
    """
    encoding, sequences, starts = EncodingConfig(system_prompt="", date=DATE), [], []
    end = end_of_turn(tokenizer, template=encoding.template, date=DATE).ids
    for text in texts:
        prompt, answer = ("", text) if isinstance(text, str) else text
        row = Row(id="", instruction=prompt, completion=answer)
        before = encode_prompt(row, tokenizer, encoding)[-(max_length // 2) :] or end
        after = (*tokenizer(answer, add_special_tokens=False).input_ids, *end)[: max_length - len(before)]
        sequences.append([*before, *after])
        starts.append(len(before))
    longest = max(map(len, sequences))
    ids, mask, answers = (torch.zeros(len(texts), longest, dtype=torch.long) for _ in range(3))
    for index, (sequence, start) in enumerate(zip(sequences, starts, strict=True)):
        ids[index, : len(sequence)] = torch.tensor(sequence)
        mask[index, : len(sequence)] = 1
        answers[index, start - 1 : len(sequence) - 1] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "answers": answers.to(device)}
