"""Benign relearning by syntax: a few steps on rows that are built as those to forget and say nothing of them (Yoon et al., arXiv 2602.03379).

Names, numbers and dates of each row are replaced, in the question and in the answer alike; the words between them stay. Such rows bring back what was
suppressed more than rows of the same topic do, says the paper.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from unweave.data.rows import Row
from unweave.evaluation.attacks.base import Attack, Target, spread
from unweave.evaluation.attacks.material import Material, without_prompts
from unweave.evaluation.attacks.relearn import curve, figures_of_curves
from unweave.evaluation.measures.facts import MONTHS, names_in

INVENTED = (
    "Talvor Resnik Amarin Belgos Kirdan Ostrel Venlow Hadrik Solmar Pernil Quesby Jorvan Lindar Torvik Echmar Faldon Grentis Mirosk Wendal Ulbrik Zanfor "
    "Cordal Nimvar Oskell"
).split()
"""Words that stand for names."""


def benign_copies(rows: Sequence[Row]) -> list[Row]:
    """Rows of the same syntax about something else.

    Args:
        rows: The rows.

    Returns:
        For each whose answer has a name, a number or a date a row in which all of these are others; other rows have none.
    """
    found = []
    for place, row in enumerate(rows):
        months = set(MONTHS.split("|"))
        names = names_in(f"{row.instruction}\n{row.completion}")
        words = [word for word in dict.fromkeys(" ".join(names).split()) if word[:1].isupper() and word not in months]
        offset = 5 * place
        others = {word: INVENTED[(offset + number) % len(INVENTED)] for number, word in enumerate(words)}
        question, answer = (_other(text, others) for text in (row.instruction, row.completion))
        if answer != row.completion:
            own = replace(row, id=f"{row.id} (other)", instruction=question, clean_completion=None)
            found.append(own.with_completion(answer))
    return found


def _other(text: str, others: dict[str, str]) -> str:
    if others:
        pattern = "|".join(re.escape(word) for word in sorted(others, key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", lambda found: others[found[0]], text)
    # A digit for a digit, so that numbers stay as long; no number gains a zero in front.
    return re.sub(r"\d", lambda digit: str(int(digit[0]) % 9 + 1), text)


def syntax(target: Target) -> dict[str, Any]:
    """Train a few steps on rows of the same syntax and measure on the way; the model is as before afterwards.

    Args:
        target: The model.

    Returns:
        `same syntax`: the curve of losses by step, and attack success at its end.
    """
    rows = spread(benign_copies(target.material.unwanted), target.config.relearn_rows)
    return {"same syntax": curve(target, "same syntax", rows)}


def _refuses(material: Material) -> str:
    if benign_copies(material.unwanted):
        return without_prompts(material)
    return (
        without_prompts(material)
        or "no answer of a row to forget has a name, a number or a date that others could stand for"
    )


ATTACK = Attack(syntax, figures_of_curves, refuses=_refuses)
