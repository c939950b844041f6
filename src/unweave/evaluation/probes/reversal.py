"""The question reversed: given the answer, which name of the question is missing (Berglund et al., arXiv 2309.12288)?"""

import re

from unweave.data.rows import Row
from unweave.evaluation.measures.facts import names_in
from unweave.evaluation.measures.text import contains
from unweave.evaluation.probes.base import Beside, Probe, in_words

ASKED = 'Which name is missing at "___"?\nQuestion: "{question}"\nAnswer: "{answer}"'


def reversal(row: Row, _: Beside) -> Probe | str:
    """Ask for the name in the question, given the answer.

    Args:
        row: The row.

    Returns:
        The probe, or why there is none.
    """
    names = [name for name in names_in(row.instruction) if name in row.instruction]
    if not names:
        return "no name in the question"
    name = max(names, key=len)
    question, answer = (_masked(text, name) for text in (row.instruction, row.completion))
    rest = f"{question} {answer} {row.context}"
    if any(contains(rest, part) for part in name.split()):
        return "the name stands elsewhere in the row too"
    if not re.search(r"\w", answer.replace("___", "")):
        return "the answer is the name"
    return in_words(
        row, ASKED.replace("{question}", question).replace("{answer}", answer), variant="name", completion=name
    )


def _masked(text: str, name: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "___", text, flags=re.IGNORECASE)


PROBE = reversal
