"""Words that a traced answer and a row share: evidence of another kind than influence."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from unweave.errors import ConfigError

NGRAM = 5
LEAST_RUN = 3
NOISE = 3.0
"""Robust deviations above all rows from which on influence counts as more than noise beside an overlap: a rule of thumb."""


@dataclass(frozen=True)
class Overlap:
    """What an answer and a row have in common, case and punctuation apart.

    Attributes:
        run: The longest common run of words of the answer and the row's completion, as the row has it.
        span: Where it stands in the completion: first character and the one behind the last; `None` where no word is shared.
        words: Its words.
        prompt_words: Words of the longest common run of the answer and the row's prompt.
        share: Share of the answer's word n-grams (each counted once) that the completion has; `None` where the answer has fewer than n words.
        whole: Whether the completion has the whole answer, word for word.
    """

    run: str
    span: tuple[int, int] | None
    words: int
    prompt_words: int
    share: float | None
    whole: bool

    def cut(self, completion: str, *, least: int = LEAST_RUN) -> tuple[str, str, str] | None:
        """A row's completion cut at the longest common run, for whatever marks it.

        Args:
            completion: The row's.
            least: Words from which on a run is worth a mark, where it is no n-gram of the answer.

        Returns:
            What stands before the run, the run, and what follows; `None` where there is nothing to mark.
        """
        if not self.span or not (self.is_verbatim or self.words >= least):
            return None
        first, last = self.span
        return completion[:first], self.run, completion[last:]

    @property
    def in_words(self) -> str:
        """How many words are shared, and what share of the answer's n-grams."""
        return f"{self.words} shared" + ("" if self.share is None else f", {self.share:.0%} of {NGRAM}-grams")

    @property
    def is_verbatim(self) -> bool:
        """Whether an n-gram of the answer, or all of a shorter answer, stands in the completion."""
        return self.whole or bool(self.share)


def find_overlap(answer: str, prompt: str, completion: str, *, n: int = NGRAM) -> Overlap:
    """Compare an answer with a row.

    Args:
        answer: What is traced.
        prompt: The row's prompt.
        completion: The row's completion.
        n: Words of an n-gram.

    Returns:
        The overlap.

    Raises:
        ConfigError: When n is below 1.
    """
    if n < 1:
        raise ConfigError(f"There are no n-grams of {n} words.", where="`n`", remedy="give at least 1")
    own, asked, row = _words(answer), _words(prompt), _words(completion)
    texts, there = [word for word, *_ in own], [word for word, *_ in row]
    length, end = _longest_run(texts, there)
    span = (row[end - length][1], row[end - 1][2]) if length else None
    grams, held = _grams(texts, n), _grams(there, n)
    return Overlap(
        run=completion[slice(*span)] if span else "",
        span=span,
        words=length,
        prompt_words=_longest_run(texts, [word for word, *_ in asked])[0],
        share=len(grams & held) / len(grams) if grams else None,
        whole=0 < len(texts) == length,
    )


def has_both(overlap: Overlap, deviations: float | None) -> bool:
    """Whether a row has both: influence 3 robust deviations or more above all rows, and words of the answer.

    Args:
        overlap: The row's.
        deviations: The row's.

    Returns:
        True when both speak for the row.
    """
    return overlap.is_verbatim and deviations is not None and deviations >= NOISE


def _words(text: str) -> list[tuple[str, int, int]]:
    """Words in lower case with their places; an apostrophe within one is left out of it."""
    found = re.finditer(r"\w+(?:['’]\w+)*", text)
    return [(re.sub(r"['’]", "", match[0]).casefold(), *match.span()) for match in found]


def _grams(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


def _longest_run(first: Sequence[str], second: Sequence[str]) -> tuple[int, int]:
    """The length of the longest common run, and where it ends in the second: the first of several."""
    best, end, before = 0, 0, [0] * (len(second) + 1)
    for word in first:
        now = [0] * (len(second) + 1)
        for place, other in enumerate(second, start=1):
            if word == other:
                now[place] = before[place - 1] + 1
                if now[place] > best:
                    best, end = now[place], place
        before = now
    return best, end
