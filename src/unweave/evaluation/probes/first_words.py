"""The first half of the question's words only: what is missing has to come from memory."""

from unweave.data.rows import Row
from unweave.evaluation.probes.base import Beside, Probe, in_words

FEWEST = 4
"""Words of a question that can be cut."""


def first_words(row: Row, _: Beside) -> Probe | str:
    """Ask with half of the words.

    Args:
        row: The row.

    Returns:
        The probe, or why there is none.
    """
    words = row.instruction.split()
    if len(words) < FEWEST:
        return f"the question has fewer than {FEWEST} words"
    return in_words(row, " ".join(words[: (len(words) + 1) // 2]), variant="half")


PROBE = first_words
