"""Probes of many rows: what each family can make of them, and of how many rows it can't and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from unweave.data.rows import Row
from unweave.evaluation.attacks.base import spread
from unweave.evaluation.measures.text import contains
from unweave.evaluation.probes.base import Beside, Family, Probe
from unweave.evaluation.probes.registry import PROBES
from unweave.registry import entry


@dataclass(frozen=True)
class Probes:
    """The probes of some rows, the same for every model.

    Attributes:
        families: Family to its probes, one a row at most; a family of which none could be made is empty.
        unmade: Family to reason to the number of rows of which it could make none.
        rows: The rows that were tried.
    """

    families: dict[str, list[Probe]] = field(default_factory=dict)
    unmade: dict[str, dict[str, int]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @property
    def generated(self) -> dict[str, list[Probe]]:
        """Those that are answered."""
        found = {name: [one for one in own if not one.options] for name, own in self.families.items()}
        return {name: own for name, own in found.items() if own}

    @property
    def chosen(self) -> dict[str, list[Probe]]:
        """Those of which the likeliest answer is chosen."""
        found = {name: [one for one in own if one.options] for name, own in self.families.items()}
        return {name: own for name, own in found.items() if own}


def make_probes(rows: Sequence[Row], beside: Beside, names: Sequence[str], *, count: int) -> Probes:
    """Make probes.

    Args:
        rows: The rows to probe.
        beside: What there is beside each.
        names: The families.
        count: The most rows, the same for each family: spread over all.

    Returns:
        The probes, and what could not be made.

    Raises:
        ConfigError: When there is no family of a name.
    """
    tried = spread(list(rows), count)
    families: dict[str, list[Probe]] = {}
    unmade: dict[str, dict[str, int]] = {}
    for name in dict.fromkeys(names):
        family = family_named(name)
        made = [_made(row, family, beside) for row in tried]
        families[name] = [one for one in made if isinstance(one, Probe)]
        unmade[name] = dict(Counter(one for one in made if isinstance(one, str)))
    return Probes(families, unmade, tried)


def family_named(name: str) -> Family:
    """A family of probes.

    Args:
        name: Its name in `PROBES`.

    Returns:
        The family.

    Raises:
        ConfigError: When there is none of that name.
    """
    return entry(PROBES, name, option="probes")


def _made(row: Row, family: Family, beside: Beside) -> Probe | str:
    if not row.instruction:
        return "the row has no question"
    made = family(row, beside)
    if isinstance(made, Probe) and not made.options and contains(made.asked.prompt, made.asked.completion):
        return "the question holds the answer"
    return made
