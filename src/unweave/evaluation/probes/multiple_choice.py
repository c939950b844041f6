"""The row's answer among answers of other rows: which one is likeliest, a token, after the row's own question?"""

from unweave.data.forms import normal_form
from unweave.data.rows import Row
from unweave.evaluation.probes.base import Beside, Probe

WRONG = 3
"""Answers beside the right one."""


def multiple_choice(row: Row, beside: Beside) -> Probe | str:
    """Let the model choose.

    Args:
        row: The row.
        beside: Other rows, whose answers are the wrong ones; those of the rows to forget come first, since a model knows them as well.

    Returns:
        The probe, or why there is none.
    """
    rng, taken, chosen = beside.random(row, "multiple_choice"), {normal_form(row.completion)}, []
    for rows in (beside.rows, beside.others):
        own = list(rows)
        rng.shuffle(own)
        for other in own:
            if len(chosen) < WRONG and normal_form(other.completion) not in taken:
                taken.add(normal_form(other.completion))
                chosen.append(other.completion)
    if not chosen:
        return "no other row has another answer"
    return Probe(row, row, tuple(chosen), f"1 of {1 + len(chosen)}")


PROBE = multiple_choice
