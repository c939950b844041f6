"""A question that needs two facts: a name in it is put as the answer to another row's question (Cohen et al., arXiv 2307.12976, compositionality)."""

from unweave.data.rows import Row
from unweave.evaluation.measures.facts import names_in
from unweave.evaluation.measures.text import contains
from unweave.evaluation.probes.base import Beside, Probe, in_words


def two_hop(row: Row, beside: Beside) -> Probe | str:
    """Ask through another row whose answer is a name in this row's question, the rows to forget before others.

    Args:
        row: The row.
        beside: Other rows.

    Returns:
        The probe, or why there is none.
    """
    names = [name for name in sorted(names_in(row.instruction), key=len, reverse=True) if name in row.instruction]
    for other in (*beside.rows, *beside.others):
        if other.id == row.id or not other.instruction:
            continue
        for name in names:
            if name in other.completion and contains(other.completion, name) and not contains(other.prompt, name):
                described = f'(the answer to "{other.instruction}")'
                return in_words(row, row.instruction.replace(name, described), variant=other.id)
    return "no other row's answer is a name in the question" if names else "no name in the question"


PROBE = two_hop
