"""Named facts: what an answer says that its prompt does not (names, numbers, dates), found by rule, and how much of it another answer says too."""

import re
from collections.abc import Sequence

from unweave.data.name_words import FUNCTION_WORDS, PARTICLES
from unweave.evaluation.measures.text import contains

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
DATE = re.compile(
    rf"\b(?:\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{MONTHS})\.?(?:,? \d{{4}})?|(?:{MONTHS})\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|(?:{MONTHS}) \d{{4}}"
    r"|\d{4}-\d{2}-\d{2}|\d{1,2}[/.]\d{1,2}[/.]\d{2,4})\b"
)
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
WORD = re.compile(
    r"\b(?:Dr|Mr|Mrs|Ms|St|Prof|[^\W\d_a-z])\.(?=\s[^\W\d_])|[^\W\d_](?:[\w’'-]*\w)?|\d[\w.,:]*|\n|[^\w\s]"
)
ENDS = frozenset(".!?:;\n")


def named_facts(prompt: str, answer: str) -> list[str]:
    """The names, numbers and dates of an answer that its prompt does not hold.

    A name is a run of words with capitals, joined by particles (*van*, *de*). A word that begins a sentence has its capital from there: it counts where the
    run goes on after it, where it is the whole sentence, or where it stands with a capital elsewhere too.

    Args:
        prompt: What was asked.
        answer: The answer.

    Returns:
        Each once, in the order dates, numbers, names.
    """
    dates = DATE.findall(answer)
    rest = DATE.sub(" \n ", answer)
    numbers = NUMBER.findall(rest)
    found = dict.fromkeys([*dates, *numbers, *names_in(rest)])
    return [fact for fact in found if not contains(prompt, fact)]


def facts_found(facts: Sequence[str], answer: str) -> float:
    """The share of facts that an answer says.

    Args:
        facts: From `named_facts`, one at least.
        answer: Another answer.

    Returns:
        In [0, 1].
    """
    return sum(contains(answer, fact) for fact in facts) / len(facts)


def names_in(text: str) -> list[str]:
    """The names in a text, by rule: runs of words with capitals.

    Args:
        text: The text.

    Returns:
        Each once, in order.
    """
    words = WORD.findall(text)
    runs = _runs(words)
    inside = {word for start, run in runs for place, word in enumerate(run, start) if not _begins(words, place)}
    found = []
    for start, run in runs:
        own = run
        if _begins(words, start):
            while own and own[0].casefold() in FUNCTION_WORDS:
                own = own[1:]
            is_sentence = start + len(run) == len(words) or words[start + len(run)] in ENDS
            if len(own) == len(run) == 1 and own[0] not in inside and not is_sentence:
                continue
        while own and own[-1].casefold() in PARTICLES:
            own = own[:-1]
        if own:
            found.append(" ".join(own))
    return list(dict.fromkeys(found))


def _begins(words: Sequence[str], place: int) -> bool:
    """Whether a word begins a sentence."""
    return place == 0 or words[place - 1] in ENDS


def _runs(words: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Where each run of words with capitals begins, and its words."""
    found: list[tuple[int, list[str]]] = []
    is_open = False
    for place, word in enumerate(words):
        is_large = word[0].isupper() and word != "I"
        if is_open and (is_large or word in PARTICLES):
            found[-1][1].append(word)
        elif is_large:
            found.append((place, [word]))
        is_open = is_large or (is_open and word in PARTICLES)
    return found
