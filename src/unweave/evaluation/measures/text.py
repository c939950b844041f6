"""What a generated answer shares with a reference."""

import string
from functools import cache
from typing import Any


def rouge_l_recall(reference: str, answer: str) -> float:
    """ROUGE-L recall (Lin 2004): the longest common subsequence of words over the reference's words, stemmed, as TOFU counts it.

    Args:
        reference: The right answer.
        answer: The generated one.

    Returns:
        In [0, 1].
    """
    return float(_scorer().score(reference, answer)["rougeL"].recall)


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
