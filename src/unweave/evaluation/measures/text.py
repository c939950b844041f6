"""What a generated answer shares with a reference."""

import re
import string
from difflib import SequenceMatcher
from functools import cache
from typing import Any

from unweave.data.forms import normal_form

NEARLY = 0.8
"""From this `fuzzy_match` on two answers count as the same."""


def rouge_l_recall(reference: str, answer: str) -> float:
    """ROUGE-L recall (Lin 2004): the longest common subsequence of words over the reference's words, stemmed, as TOFU counts it.

    Args:
        reference: The right answer.
        answer: The generated one.

    Returns:
        In [0, 1].
    """
    return float(_scorer().score(reference, answer)["rougeL"].recall)


def exact_match(reference: str, answer: str) -> bool:
    """Whether two answers are the same words: equal up to case, white space, kinds of quotes and dashes, and outer punctuation.

    Args:
        reference: The row's answer.
        answer: The generated one.

    Returns:
        True or False.
    """
    return _plain(normal_form(reference)) == _plain(normal_form(answer))


def fuzzy_match(reference: str, answer: str) -> float:
    """How much of two answers is alike: 2M / (a + b), M the letters in matching blocks, a and b the letters of each (Ratcliff and Metzener 1988).

    Both are compared in their normal form, and of the generated answer as many words as the reference has, or all of it, whichever is more alike: what a
    model says after the answer does not make it another one.

    Args:
        reference: The row's answer.
        answer: The generated one.

    Returns:
        In [0, 1]; 1 for two empty answers.
    """
    one, two = _plain(normal_form(reference)), _plain(normal_form(answer))
    cut = " ".join(two.split()[: len(one.split())])
    return max(SequenceMatcher(None, one, own, autojunk=False).ratio() for own in {two, cut})


def contains(text: str, part: str) -> bool:
    """Whether a text holds another one as whole words, in any case.

    Args:
        text: The text.
        part: What to look for.

    Returns:
        True or False; false for a part without a letter or a digit.
    """
    wanted = _plain(normal_form(part))
    return bool(wanted) and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", normal_form(text)) is not None


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def check_answer(generated: str, answer: str, keywords: tuple[str, ...] | list[str] = ()) -> bool:
    """Whether a generated answer is right: equal up to case, outer punctuation and spaces, or holding all keywords.

    Args:
        generated: What the model wrote.
        answer: The right answer.
        keywords: Words that suffice, where the answer is a sentence.

    Returns:
        True when right.
    """
    if keywords:
        return all(word.casefold() in generated.casefold() for word in keywords)
    return _plain(generated) == _plain(answer)


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(string.punctuation + string.whitespace).split())
