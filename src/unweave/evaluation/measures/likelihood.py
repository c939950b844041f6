"""What a model thinks of an answer, teacher-forced: functions of the answer's token losses and of which tokens it would have chosen itself.

A loss is -log p of a token in nats, given the prompt and the tokens before it (teacher forcing). `hits` says for each token whether the model's most
likely token is that one.
"""

import math
import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np

LARGEST = math.log(sys.float_info.max)


def probability(losses: Sequence[float]) -> float:
    """P(answer | prompt)^(1/T), the geometric mean of the token probabilities (TOFU, arXiv 2401.06121, section 2.2.1).

    Args:
        losses: Of the answer's T tokens.

    Returns:
        In [0, 1]; NaN for an empty answer.
    """
    return math.exp(-float(np.mean(losses))) if len(losses) else float("nan")


def perplexity(losses: Sequence[Sequence[float]]) -> float:
    """exp of the mean loss over all tokens of all rows: a row counts by its tokens.

    Args:
        losses: Token losses of each row.

    Returns:
        At least 1; infinite where it is beyond all numbers; NaN without tokens.
    """
    tokens = [loss for row in losses for loss in row]
    if not tokens:
        return float("nan")
    mean = float(np.mean(tokens))
    return math.exp(mean) if mean < LARGEST else math.inf


def exact_memorisation(hits: Sequence[bool]) -> float:
    """Share of the answer's tokens that greedy decoding would choose, the true tokens before them given (Tirumala et al., arXiv 2205.10770).

    Args:
        hits: Of the answer's tokens.

    Returns:
        In [0, 1]; NaN for an empty answer.
    """
    return float(np.mean(hits)) if len(hits) else float("nan")


def extraction_strength(hits: Sequence[bool]) -> float:
    """1 - k/T, where k is the length of the shortest prefix from which greedy decoding gives the rest (Carlini et al., arXiv 2012.07805).

    A wrong last token makes k = T and the strength 0: public code stops its search at T - 1 and gives 1/T to an answer that is all wrong.

    Args:
        hits: Of the answer's T tokens. Greedy decoding gives a suffix exactly when all hits in it are true.

    Returns:
        In [0, 1]: 1 where the prompt alone gives the answer; NaN for an empty answer.
    """
    if not len(hits):
        return float("nan")
    tail = 0
    for hit in reversed(hits):
        if not hit:
            break
        tail += 1
    return tail / len(hits)


Averaging = Literal["geometric", "arithmetic"]
"""How the probabilities of several wrong answers become one."""


def truth_ratio(paraphrased: float, perturbed: Sequence[float], *, averaging: Averaging = "geometric") -> float:
    """How much likelier wrong answers are than a right one: P(perturbed)/P(paraphrased), a token (TOFU, section 2.2.1, equation 1).

    Both means of the wrong answers' probabilities are official: the arithmetic one in the paper's equation and for the model utility in TOFU's `utils.py`, the
    geometric one for the forget quality there, and for both in TOFU's leaderboard and in open-unlearning.

    Args:
        paraphrased: Mean token loss of a right answer in other words.
        perturbed: Mean token loss of each wrong answer.
        averaging: Of the wrong answers' probabilities.

    Returns:
        Above 0; below 1 where the model knows the answer.
    """
    with np.errstate(over="ignore"):
        if averaging == "geometric":
            return float(np.exp(paraphrased - np.mean(perturbed)))
        return float(np.mean(np.exp(paraphrased - np.asarray(perturbed, dtype=float))))


def truth_ratio_forget(ratio: float) -> float:
    """TOFU's form for rows to be forgotten: min(r, 1/r), highest where right and wrong answers are equally likely.

    Args:
        ratio: From `truth_ratio`.

    Returns:
        In [0, 1].
    """
    return min(ratio, 1 / ratio) if ratio else 0.0


def truth_ratio_retain(ratio: float) -> float:
    """TOFU's form for rows to be kept: max(0, 1 - r), highest where the right answer is much the likelier.

    Args:
        ratio: From `truth_ratio`.

    Returns:
        In [0, 1].
    """
    return 0.0 if ratio > 1 else 1 - ratio


def choice_probability(right: float, wrong: Sequence[float]) -> float:
    """The right answer's share of the probability of all options (TOFU, real authors and world facts).

    Args:
        right: Mean token loss of the right option.
        wrong: Mean token loss of each other option.

    Returns:
        In [0, 1].
    """
    exponents = -np.array([right, *wrong])
    shifted = np.exp(exponents - exponents.max())
    return float(shifted[0] / shifted.sum())
