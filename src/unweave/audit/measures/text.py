"""What a generated answer shares with a reference."""

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
