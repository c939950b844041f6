"""All that an evaluation says of a model's knowledge of the rows, as one number a metric, each with the way in which it points."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from unweave.evaluation.evaluation import Evaluation
from unweave.evaluation.verdict import NOT_FORGOTTEN, SUPPRESSED

LOWER = ("loss",)
"""Figures of which a model that knows the rows has less. It is farther from a model that never saw them."""

VERDICT = "verdict"


@dataclass(frozen=True)
class Reading:
    """One metric of one model.

    Attributes:
        value: As the evaluation shows it.
        higher: Whether a model that knows the rows has more of it.
    """

    value: float
    higher: bool

    @property
    def knowledge(self) -> float:
        """The same so that more means that more is known, and within [0, 1] where it was a loss: exp(-value) then."""
        return self.value if self.higher else math.exp(-self.value)


Readings = Mapping[str, Reading]
"""Metric to reading."""


def readings_of(evaluation: Evaluation, *, model: str = "after") -> dict[str, Reading]:
    """The metrics of a model: figures of the rows to forget, membership attacks, probes, attacks, and the verdict.

    Args:
        evaluation: Of the model.
        model: Its label there.

    Returns:
        Metric to reading, `kind: name`; the verdict counts 1 where it says *not forgotten* or *suppressed*, else 0. What is no number is left out.
    """
    found: dict[str, Reading] = {}
    for name, one in evaluation.figures[model]["forget"].items():
        found[f"figure: {name}"] = Reading(one.value, name not in LOWER)
    for name, attack in evaluation.membership.get(model, {}).items():
        found[f"membership: {name}"] = Reading(attack.area, True)
    for family, rates in evaluation.probes.items():
        if model in rates.rates:
            found[f"probe: {family}"] = Reading(rates.rates[model].value, True)
    for row in evaluation.attacks:
        if row.worse is not None and model in row.values:
            found[f"attack {row.attack}: {row.what}"] = Reading(row.values[model][0], row.worse == "higher")
    verdict = evaluation.verdict if model == "after" else evaluation.others.get(model)
    if verdict is not None:
        knows = any(words in verdict.conclusion for words in (NOT_FORGOTTEN, SUPPRESSED))
        found[VERDICT] = Reading(float(knows), True)
    return {name: one for name, one in found.items() if math.isfinite(one.value)}
