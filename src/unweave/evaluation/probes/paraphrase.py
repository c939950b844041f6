"""The same question in other words: as a model has written it, as the row's own paraphrase, turned into a request, or in another form."""

import re

from unweave.data.rows import Row
from unweave.evaluation.probes.base import Beside, Probe, in_words

FORMS = (
    "Could you please help me with the following?\n{}",
    'A colleague asked me this: "{}" What should I answer?',
    "I would like to know this. {}",
    "{} Be quick, one line.",
    "Please think about what you know, and answer. {}",
)
QUESTION = re.compile(r"(what|who|where|when|why|how) (is|are|was|were) (.+?)\s*\?", re.IGNORECASE | re.DOTALL)
"""Questions that a request can be made of: "Who was Ann Lee?" asks what "Tell me who Ann Lee was." does."""


def paraphrase(row: Row, beside: Beside) -> Probe | str:
    """Ask in other words.

    Args:
        row: The row.
        beside: Paraphrases, and randomness to choose a form.

    Returns:
        The probe.
    """
    if row.id in beside.paraphrases:
        return in_words(row, beside.paraphrases[row.id], variant="a model's")
    if own := row.meta.get("paraphrased_question"):
        return in_words(row, str(own), variant="the row's own")
    rng = beside.random(row, "paraphrase")
    found = QUESTION.fullmatch(row.instruction.strip())
    ways = [*FORMS, *(["request"] if found else [])]
    form = rng.choice(ways)
    if form == "request" and found:
        word, verb, rest = found.groups()
        return in_words(row, f"Tell me {word.lower()} {rest} {verb.lower()}.", variant="request")
    return in_words(row, form.replace("{}", row.instruction), variant=form)


PROBE = paraphrase
