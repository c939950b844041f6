"""Paraphrases that a model writes: for those who have one at hand; templates do without."""

from collections.abc import Sequence
from dataclasses import replace

from unweave.data.encoding import EncodingConfig
from unweave.data.forms import normal_form
from unweave.data.rows import Row
from unweave.evaluation.attacks.base import spread
from unweave.evaluation.measures.text import contains
from unweave.models.generation import greedy_answers
from unweave.models.model import Model

ASKED = "Write the following question in other words. Give the new question only.\n\n{}"
LONGEST = 64
"""Tokens of a paraphrase."""


def write_paraphrases(
    model: Model, rows: Sequence[Row], encoding: EncodingConfig, *, count: int, max_new_tokens: int = LONGEST
) -> dict[str, str]:
    """Let a model write the questions of rows in other words.

    Args:
        model: The model that writes.
        rows: The rows to forget; their answers are not shown to it.
        encoding: Template and lengths.
        count: The most rows, those that are probed.
        max_new_tokens: Longest paraphrase.

    Returns:
        Row id to the new question, empty where what was written is of no use: nothing, the question as it was, or one that holds the answer.
    """
    asked = [row for row in spread(list(rows), count) if row.instruction]
    prompts = [replace(row, instruction=ASKED.replace("{}", row.instruction), context="", turns=()) for row in asked]
    if not prompts:
        return {}
    texts = greedy_answers(
        model, prompts, encoding, max_new_tokens=max_new_tokens, description="probe model: paraphrases"
    )
    return {row.id: text if _is_of_use(row, text) else "" for row, text in zip(asked, texts, strict=True)}


def _is_of_use(row: Row, text: str) -> bool:
    same = normal_form(text) in ("", normal_form(row.instruction))
    return not same and not contains(text, row.completion)
