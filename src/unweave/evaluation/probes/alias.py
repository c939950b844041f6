"""The question with another form of a name in it: the last name only, or initials and the last name."""

from unweave.data.name_words import PARTICLES
from unweave.data.rows import Row
from unweave.evaluation.measures.facts import names_in
from unweave.evaluation.probes.base import Beside, Probe, in_words


def alias(row: Row, beside: Beside) -> Probe | str:
    """Ask about an alias.

    Args:
        row: The row.
        beside: Randomness to choose one.

    Returns:
        The probe, or why there is none.
    """
    names = [name for name in names_in(row.instruction) if len(name.split()) > 1 and name in row.instruction]
    if not names:
        return "no name of several words in the question"
    first, *rest = max(names, key=len).split()
    name = " ".join([first, *rest])
    forms = {
        "last name": " ".join(rest) if rest[0] in PARTICLES else rest[-1],
        "initials": " ".join(
            [*(word if word in PARTICLES else f"{word[0]}." for word in (first, *rest[:-1])), rest[-1]]
        ),
    }
    variant = beside.random(row, "alias").choice(sorted(forms))
    return in_words(row, row.instruction.replace(name, forms[variant]), variant=variant)


PROBE = alias
