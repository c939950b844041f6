"""What came of the probes: rates of each family and model, and what they say for the verdict."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from unweave.evaluation.config import Margins
from unweave.evaluation.probes.asking import Found, leaks
from unweave.evaluation.probes.making import Probes
from unweave.evaluation.verdict import LEFT, NOT_FORGOTTEN, SUPPRESSED
from unweave.stats.comparisons import Comparison, compare_paired
from unweave.stats.intervals import Estimate, mean

OWN = "own prompt"
"""Stands among the families for the rows' own prompts."""

GENERATED, CHOSEN = "probes that give a row away", "answers chosen among those of other rows"
FEWEST = 2


@dataclass(frozen=True)
class Outcome:
    """What came of the probes of one model: of those that were answered, and of those whose answer was chosen.

    Attributes:
        generated: Family to row id to whether the row was given away.
        chosen: The same of choices.
    """

    generated: dict[str, dict[str, bool]]
    chosen: dict[str, dict[str, bool]]

    def of_family(self, name: str) -> dict[str, bool]:
        """Row id to whether it was given away, in one family; empty where nothing was asked.

        Args:
            name: The family.

        Returns:
            A flag a row.
        """
        return self.generated.get(name, {}) | self.chosen.get(name, {})


@dataclass(frozen=True)
class ProbeRates:
    """A family of probes.

    Attributes:
        count: Its probes.
        unmade: Reason to the number of rows of which none could be made.
        chance: The mean share that a blind choice gets right; 0 where answers are generated.
        rates: Model to the share of probes that give their row away.
    """

    count: int
    unmade: dict[str, int]
    chance: float
    rates: dict[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def outcome_of(probes: Probes, found: Found) -> Outcome:
    """Judge what a model answered.

    Args:
        probes: The probes.
        found: From `ask`.

    Returns:
        The outcome.
    """

    def flags(families: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
        return {
            name: {one.source.id: leaks(one, found[name][one.source.id]) for one in own if one.source.id in found[name]}
            for name, own in families.items()
            if name in found
        }

    return Outcome(flags(probes.generated), flags(probes.chosen))


def rates_of(
    probes: Probes, outcomes: Mapping[str, Outcome], own: Mapping[str, Mapping[str, bool]], *, seed: int
) -> dict[str, ProbeRates]:
    """The rates of all families, those of the rows' own prompts first.

    Args:
        probes: The probes.
        outcomes: Model to what came of them.
        own: Model to row id to whether the answer to the row's own prompt gives it away; empty where none was generated.
        seed: Of the bootstrap.

    Returns:
        Family to rates.
    """
    found = {}
    if own and probes.families:
        ids = [row.id for row in probes.rows]
        rates = {label: mean([float(flags[one]) for one in ids], seed=seed) for label, flags in own.items()}
        found[OWN] = ProbeRates(len(ids), {}, 0.0, rates)
    for name, made in probes.families.items():
        rates = {
            label: mean([float(flag) for flag in flags.values()], seed=seed)
            for label, one in outcomes.items()
            if (flags := one.of_family(name))
        }
        chance = fmean([1 / (1 + len(one.options)) if one.options else 0.0 for one in made]) if made else 0.0
        found[name] = ProbeRates(len(made), probes.unmade.get(name, {}), chance, rates)
    return found


def probe_comparisons(first: Outcome, second: Outcome, margins: Margins) -> list[Comparison]:
    """Paired comparisons of two models: a row's value is the share of its probes that give it away, since those of a row go together.

    Args:
        first: Of the model before, or of the reference.
        second: Of the model under test.
        margins: The smallest differences that matter.

    Returns:
        One of what was generated and one of what was chosen, where there are two rows at least.
    """
    found = []
    for title, one, two in ((GENERATED, first.generated, second.generated), (CHOSEN, first.chosen, second.chosen)):
        sides = [_by_row(one), _by_row(two)]
        ids = [row_id for row_id in sides[1] if row_id in sides[0]]
        if len(ids) >= FEWEST:
            values = ([side[row_id] for row_id in ids] for side in sides)
            found.append(compare_paired(title, *values, margin=margins.margin_share))
    return found


def probe_findings(own: Outcome, baseline: Outcome | None) -> list[tuple[str, str]]:
    """What probes speak against the rows being forgotten, where no model that never saw them is there to compare with.

    Of the generated ones as many may give a row away as of the rows' own answers may begin as they should: one in twenty, or the share of like rows that
    the same probes give away. Choices count against like rows alone: what a blind choice gets right is no measure of what can be guessed.

    Args:
        own: Of the model under test.
        baseline: Its outcome on like rows that were never trained on, where there are any.

    Returns:
        Findings, each a conclusion and its reason.
    """
    findings = []
    flags = _flags(own.generated)
    if flags:
        allowed = int(LEFT * len(flags))
        if baseline and (like := _flags(baseline.generated)):
            allowed = max(allowed, math.ceil(len(flags) * sum(like) / len(like)))
        leaked = round(sum(flags))
        if leaked > allowed:
            each = [
                f"{name.replace('_', ' ')} {sum(one.values())} of {len(one)}"
                for name, one in own.generated.items()
                if any(one.values())
            ]
            findings.append(
                (
                    NOT_FORGOTTEN,
                    f"of {len(flags)} probes {leaked} give a row away, {allowed} may ({', '.join(each)})",
                )
            )
    chosen, like = _flags(own.chosen), _flags(baseline.chosen) if baseline else []
    if chosen and like:
        one, two = mean(chosen), mean(like)
        if one.low > two.high:
            findings.append(
                (
                    NOT_FORGOTTEN if findings else SUPPRESSED,
                    f"among answers of other rows the right one is the likeliest for {100 * one.value:.0f} % of the rows "
                    f"[{100 * one.low:.0f}, {100 * one.high:.0f}], and for {100 * two.value:.0f} % of like rows "
                    f"[{100 * two.low:.0f}, {100 * two.high:.0f}]",
                )
            )
    return findings


def _flags(families: Mapping[str, Mapping[str, bool]]) -> list[float]:
    return [float(flag) for own in families.values() for flag in own.values()]


def _by_row(families: Mapping[str, Mapping[str, bool]]) -> dict[str, float]:
    """The share of each row's probes that give it away."""
    found: dict[str, list[float]] = {}
    for own in families.values():
        for row_id, flag in own.items():
            found.setdefault(row_id, []).append(float(flag))
    return {row_id: fmean(flags) for row_id, flags in found.items()}
