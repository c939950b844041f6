"""The table of the suite: figures over seeds, what they cost, and what follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from statistics import median
from typing import Any

import numpy as np

from unweave.config import to_plain
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.measure import Figure, Measure, Outcome
from unweave.experiments.attribution.registry import MEASURES
from unweave.experiments.attribution.scorers import is_baseline, ways
from unweave.run.folder import environment
from unweave.stats.intervals import Estimate, across_seeds

CHANCE_SCORER = "random"


@dataclass
class Found:
    """What there is so far.

    Attributes:
        outcomes: Scorer and measure to seed to outcome.
        references: Measure and reference to seed to outcome.
        costs: Scorer to what it took in each scene and seed.
        skipped: Scorer to why.
    """

    outcomes: dict[tuple[str, str], dict[int, Outcome]] = field(default_factory=dict)
    references: dict[tuple[str, str], dict[int, Outcome]] = field(default_factory=dict)
    costs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A figure of a measure.

    Attributes:
        measure: The measure's name.
        about: What it measures.
        figure: The figure.
    """

    measure: str
    about: str
    figure: Figure

    @property
    def key(self) -> str:
        """Its name in the table."""
        return f"{self.measure}.{self.figure.name}"


@dataclass(frozen=True)
class Cost:
    """What a scorer takes for all queries of a scene: the median over scenes and seeds.

    Attributes:
        seconds: Wall time, caching included.
        cpu_seconds: Processor time.
        peak_mib: The largest resident memory of the process meanwhile.
        bytes: On the disk, of what it reads.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    bytes: float


@dataclass(frozen=True)
class Table:
    """The suite's result.

    Attributes:
        columns: The figures.
        cells: Scorer to column to estimate over seeds.
        seeds: Scorer to column to seed to value.
        references: Name to column to estimate: chance, ceilings.
        costs: Scorer to what it takes.
        curves: Scorer to the curve of removal, the mean over seeds: shares, and the loss's rise without found and without random rows.
        findings: What follows.
        notes: What does not apply to whom.
        skipped: Scorer to why it has no figures.
        not_run: Measures and scorers that were not asked for.
        config: The options.
        environment: Machine and versions.
    """

    columns: Sequence[Column]
    cells: Mapping[str, Mapping[str, Estimate]]
    seeds: Mapping[str, Mapping[str, Mapping[int, float]]]
    references: Mapping[str, Mapping[str, Estimate]]
    costs: Mapping[str, Cost]
    curves: Mapping[str, Mapping[str, Sequence[float]]]
    findings: Sequence[str]
    notes: Sequence[str]
    skipped: Mapping[str, str]
    not_run: Mapping[str, Sequence[str]]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "columns": [{"key": one.key, "measure": one.measure, "about": one.about, **asdict(one.figure)} for one in self.columns],
            "table": {name: {key: own.to_json() for key, own in cells.items()} for name, cells in self.cells.items()},
            "seeds": {name: {key: dict(own) for key, own in cells.items()} for name, cells in self.seeds.items()},
            "references": {name: {key: own.to_json() for key, own in cells.items()} for name, cells in self.references.items()},
            "costs": {name: asdict(cost) for name, cost in self.costs.items()},
            "curves": {name: {key: list(own) for key, own in curve.items()} for name, curve in self.curves.items()},
            "findings": list(self.findings),
            "notes": list(self.notes),
            "skipped": dict(self.skipped),
            "not_run": {kind: list(names) for kind, names in self.not_run.items()},
            "config": dict(self.config),
            "environment": dict(self.environment),
        }  # fmt: skip


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as its file keeps it.

    Args:
        outcome: The outcome.

    Returns:
        A JSON object.
    """
    figures = {name: own.to_json() for name, own in outcome.figures.items()}
    values = {name: [float(value) for value in own] for name, own in outcome.values.items()}
    return {"figures": figures, "values": values, "notes": list(outcome.notes)}


def outcome_of(kept: Mapping[str, Any]) -> Outcome:
    """An outcome from its file.

    Args:
        kept: From `outcome_to_json`, by way of JSON, in which NaN is null.

    Returns:
        The outcome.
    """
    return Outcome({name: estimate_of(own) for name, own in kept["figures"].items()}, kept["values"], kept["notes"])


def estimate_of(kept: Mapping[str, Any]) -> Estimate:
    """An estimate from a file.

    Args:
        kept: Its JSON object, in which NaN is null.

    Returns:
        The estimate.
    """
    value, low, high = (float("nan") if kept[name] is None else kept[name] for name in ("value", "low", "high"))
    return Estimate(value, low, high, kept["count"])


def summarise(found: Found, measures: Sequence[Measure], config: AttributionBenchConfig) -> Table:
    """Sum up over seeds: Student's interval where there are several, a seed's own where there is one.

    Args:
        found: What there is.
        measures: The measures that were asked for.
        config: The suite's.

    Returns:
        The table.
    """
    columns = [Column(one.name, one.title, figure) for one in measures for figure in one.figures]
    cells: dict[str, dict[str, Estimate]] = {}
    seeds: dict[str, dict[str, dict[int, float]]] = {}
    notes: dict[str, list[str]] = {}
    for (scorer, measure), outcomes in found.outcomes.items():
        for column in columns:
            if column.measure != measure:
                continue
            own = {
                seed: one.figures[column.figure.name]
                for seed, one in outcomes.items()
                if column.figure.name in one.figures
            }
            if own:
                cells.setdefault(scorer, {})[column.key] = _over_seeds(list(own.values()), column.figure)
                seeds.setdefault(scorer, {})[column.key] = {seed: one.value for seed, one in own.items()}
        for note in dict.fromkeys(note for one in outcomes.values() for note in one.notes):
            notes.setdefault(f"{measure}, {note}", []).append(scorer)
    references: dict[str, dict[str, Estimate]] = {}
    for (measure, name), outcomes in found.references.items():
        for column in columns:
            own = [one.figures[column.figure.name] for one in outcomes.values() if column.figure.name in one.figures]
            if column.measure == measure and own:
                references.setdefault(name, {})[column.key] = _over_seeds(own, column.figure)
    return Table(
        columns=columns,
        cells=cells,
        seeds=seeds,
        references=references,
        costs={scorer: _cost(own) for scorer, own in found.costs.items()},
        curves=_curves(found),
        findings=findings(columns, cells, seeds),
        notes=[f"{note}: {', '.join(names)}" for note, names in notes.items()],
        skipped=dict(found.skipped),
        not_run={
            "measures": [name for name in MEASURES if name not in config.measures],
            "scorers": [name for name in ways() if name not in config.scorers],
            "peers": [] if config.peers else ["bergson", "kronfluence"],
        },
        config=to_plain(config),
        environment=_environment(),
    )


@cache
def _environment() -> dict[str, Any]:
    """Asked once: it starts a process for the commit."""
    return environment()


def _over_seeds(own: Sequence[Estimate], figure: Figure) -> Estimate:
    found = own[0] if len(own) == 1 else across_seeds([one.value for one in own])
    return found.within(figure.low, figure.high)


def _cost(own: Sequence[Mapping[str, Any]]) -> Cost:
    def middle(name: str) -> float:
        values = [one[name] for one in own if one[name] is not None and one[name] == one[name]]
        return float(median(values)) if values else float("nan")

    return Cost(middle("seconds"), middle("cpu_seconds"), middle("peak_mib"), middle("bytes"))


def _curves(found: Found) -> dict[str, dict[str, list[float]]]:
    curves = {}
    for (scorer, measure), outcomes in found.outcomes.items():
        if measure == "removal":
            every = [one.values for one in outcomes.values()]
            curves[scorer] = {name: np.mean([own[name] for own in every], axis=0).tolist() for name in every[0]}
    return curves


def findings(
    columns: Sequence[Column],
    cells: Mapping[str, Mapping[str, Estimate]],
    seeds: Mapping[str, Mapping[str, Mapping[int, float]]],
) -> list[str]:
    """Who is best at each measure's main figures, and whether gradients beat what knows nothing of them.

    Args:
        columns: The figures.
        cells: Scorer to column to estimate.
        seeds: Scorer to column to seed to value.

    Returns:
        A sentence a figure for which more is better.
    """
    found = []
    for column in columns:
        if column.figure.better != "more" or column.measure == "sanity":
            continue
        own = {
            name: one[column.key].value
            for name, one in cells.items()
            if column.key in one and one[column.key].value == one[column.key].value
        }
        ours = [name for name in own if not is_baseline(name)]
        plain = [name for name in own if is_baseline(name) and name != CHANCE_SCORER]
        if not ours or not plain:
            continue
        first, second = max(ours, key=own.__getitem__), max(plain, key=own.__getitem__)
        digits = column.figure.digits
        text = f"{column.figure.title}: the best of gradients is {first} ({own[first]:.{digits}f}), the best baseline {second} ({own[second]:.{digits}f}); "
        one, two = seeds[first][column.key], seeds[second][column.key]
        both = sorted(set(one) & set(two))
        if len(both) < 2:
            found.append(text + "one seed, so that nothing can be said of the difference.")
            continue
        gap = across_seeds([one[seed] - two[seed] for seed in both])
        shown = f"{gap.value:+.{digits}f} [{gap.low:+.{digits}f}, {gap.high:+.{digits}f}]"
        verdict = "gradients win" if gap.low > 0 else f"{second} wins" if gap.high < 0 else "no difference is shown"
        found.append(f"{text}{verdict}, {shown} paired by seed.")
    return found
