"""How far metrics can be trusted, by models of which it is certain what they were trained on (after Dorna et al., OpenUnlearning, arXiv 2506.12618).

*Faithful* is a metric that separates models that were trained on the rows from models that were not: the area under the ROC curve over models. Theirs, too,
are the two numbers of robustness, of models that the metric takes for unlearned. Relearning: the metric may rise no more than it does for a model that learns
the rows for the first time, R = min(rise of the retrained / rise of the unlearned, 1). Quantisation: it may not rise at all, Q = min(before / after, 1). Both
need a metric of which more means that more is known; losses are taken as exp(-loss), which is a probability, so that ratios mean something.
Ours are the areas after relearning, after quantising and in other forms of the prompt, and the intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import Any

from unweave.errors import DataError
from unweave.evaluation.meta.readings import Reading, Readings
from unweave.files import read_json
from unweave.stats.estimates import Estimate
from unweave.stats.ranking import roc_auc
from unweave.stats.shares import auc_interval

PLAIN, RELEARNED, QUANTISED = "plain", "relearned", "quantised"
"""The states of a model: as it is, after some steps on the rows, and with weights of few bits."""

GOES_BY = "verdict", "figure: loss", "figure: begins", "membership: min_40"
"""The verdict itself, and what it is made of in every evaluation."""

Models = Sequence[Mapping[str, Readings]]
"""For each model of a group: state to readings."""


@dataclass(frozen=True)
class MetricQuality:
    """How far one metric can be trusted.

    Attributes:
        metric: Its name.
        higher: Whether a model that knows the rows has more of it.
        means: Group (`trained`, `without`, `unlearned`) to its mean.
        areas: State to the area under the ROC curve between models that were trained on the rows and models that were not, with its interval over models.
        sensitivity: The mean change by another form of the prompt, as a share of the distance between the two groups' means; NaN where there is none.
        relearning: R, the mean over unlearned models that the metric takes for such; NaN where there are none.
        quantisation: Q, likewise.
        counted: How many unlearned models these are of.
    """

    metric: str
    higher: bool
    means: dict[str, float]
    areas: dict[str, Estimate]
    sensitivity: float
    relearning: float
    quantisation: float
    counted: int

    @property
    def robustness(self) -> float:
        """The harmonic mean of R and Q; NaN without unlearned models."""
        return harmonic_mean([self.relearning, self.quantisation]) if self.counted else float("nan")

    @property
    def overall(self) -> float:
        """The harmonic mean of the area and the robustness; NaN without unlearned models."""
        return harmonic_mean([self.areas[PLAIN].value, self.robustness]) if self.counted else float("nan")

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self) | {"robustness": self.robustness, "overall": self.overall}


@dataclass(frozen=True)
class MetricTable:
    """Metrics under test.

    Attributes:
        case: What the models were trained on, in a few words.
        models: Group to its number of models.
        metrics: Metric to its quality: those that separate best stand first, and of equal ones the most robust.
    """

    case: str
    models: dict[str, int]
    metrics: dict[str, MetricQuality] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "case": self.case,
            "models": self.models,
            "metrics": {name: one.to_json() for name, one in self.metrics.items()},
        }

    @classmethod
    def read(cls, path: Path) -> "MetricTable":
        """Read a table from a file.

        Args:
            path: The file.

        Returns:
            The table.

        Raises:
            DataError: When the file holds none.
        """
        value = read_json(path, what="The table of metrics")
        try:
            return cls.from_json(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"This is no table of metrics: {type(error).__name__}, {error}.",
                where=str(path),
                remedy="give the result file of benchmarks/meta_evaluation.py, or what `MetricTable.to_json` gave",
            ) from error

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "MetricTable":
        """Read back what `to_json` gave.

        Args:
            value: The object.

        Returns:
            The table.
        """
        metrics = {}
        for name, one in value["metrics"].items():
            own = {key: entry for key, entry in one.items() if key in MetricQuality.__dataclass_fields__}
            # JSON has no NaN.
            own |= {key: float("nan") for key in ("sensitivity", "relearning", "quantisation") if own[key] is None}
            areas = {state: Estimate(**area) for state, area in own["areas"].items()}
            metrics[name] = MetricQuality(**{**own, "areas": areas})
        return cls(value["case"], dict(value["models"]), metrics)

    def certainty(self, metric: str) -> str:
        """How sure a metric is, in a sentence.

        Args:
            metric: Its name.

        Returns:
            The sentence; empty where the metric was not under test.
        """
        if metric not in self.metrics:
            return ""
        area = self.metrics[metric].areas[PLAIN]
        return (
            f"{metric}: separated {self.models['trained']} models trained on the rows from {self.models['without']} that were not with an AUC of "
            f"{area.value:.2f} [{area.low:.2f}, {area.high:.2f}] ({self.case})"
        )

    def of_verdict(self) -> list[str]:
        """How sure a verdict is, and what it goes by.

        Returns:
            A sentence each.
        """
        return [words for name in GOES_BY if (words := self.certainty(name))]


def judge_metrics(trained: Models, without: Models, unlearned: Models = (), *, case: str) -> MetricTable:
    """Put metrics under test.

    Args:
        trained: Of models that were trained on the rows.
        without: Of models that were not.
        unlearned: Of models that were made to forget them.
        case: What the models were trained on, in a few words.

    Returns:
        The table; a metric that one model lacks in a state has no entry there, and none at all where that is the plain one.

    Raises:
        DataError: When a group has no models.
    """
    if not trained or not without:
        raise DataError(
            "Metrics are judged by models that were trained on the rows and by models that were not.",
            where="`trained`, `without`",
            remedy="give some of both",
        )
    names = [name for name in trained[0][PLAIN] if all(name in one[PLAIN] for one in (*trained, *without))]
    found = [_quality(name, trained, without, unlearned) for name in names]
    ranked = sorted(found, key=lambda one: (-one.areas[PLAIN].value, -one.robustness if one.counted else 0.0))
    counts = {"trained": len(trained), "without": len(without), "unlearned": len(unlearned)}
    return MetricTable(case, counts, {one.metric: one for one in ranked})


def _quality(name: str, trained: Models, without: Models, unlearned: Models) -> MetricQuality:
    known, new = _knowledge(name, trained, PLAIN), _knowledge(name, without, PLAIN)
    states = [state for state in trained[0] if all(name in one.get(state, {}) for one in (*trained, *without))]
    gap = abs(fmean(known) - fmean(new))
    forms = [state for state in states if state not in (PLAIN, RELEARNED, QUANTISED)]
    moved = [
        abs(one[form][name].knowledge - one[PLAIN][name].knowledge) for form in forms for one in (*trained, *without)
    ]
    counted = [
        one
        for one in unlearned
        if all(name in one.get(state, {}) for state in (PLAIN, RELEARNED, QUANTISED))
        # Nearer to models that were not trained on the rows: the metric takes it for unlearned.
        and one[PLAIN][name].knowledge <= (fmean(known) + fmean(new)) / 2
    ]
    risen = [_rise(one, name) for one in without if name in one.get(RELEARNED, {})]
    usable = bool(counted and risen)
    values = {"trained": trained, "without": without, "unlearned": unlearned}
    means = {
        group: fmean([one[PLAIN][name].value for one in models])
        for group, models in values.items()
        if models and all(name in one[PLAIN] for one in models)
    }
    return MetricQuality(
        metric=name,
        higher=trained[0][PLAIN][name].higher,
        means=means,
        areas={state: area_of(_knowledge(name, trained, state), _knowledge(name, without, state)) for state in states},
        sensitivity=fmean(moved) / gap if moved and gap else float("nan"),
        relearning=fmean([_share(fmean(risen), _rise(one, name)) for one in counted]) if usable else float("nan"),
        quantisation=fmean([_stays(one, name) for one in counted]) if usable else float("nan"),
        counted=len(counted) if usable else 0,
    )


def area_of(known: Sequence[float], new: Sequence[float]) -> Estimate:
    """The area under the ROC curve between two groups of models.

    Args:
        known: A number a model that was trained on the rows: more means that more is known.
        new: The same of models that were not.

    Returns:
        The area with its interval, of as many models.
    """
    area = roc_auc([True] * len(known) + [False] * len(new), [*known, *new])
    low, high = auc_interval(area, len(known), len(new))
    return Estimate(area, low, high, len(known) + len(new))


def _knowledge(name: str, models: Models, state: str) -> list[float]:
    return [one[state][name].knowledge for one in models]


def _rise(model: Mapping[str, Readings], name: str) -> float:
    before: Reading = model[PLAIN][name]
    return model[RELEARNED][name].knowledge - before.knowledge


def _share(retrained: float, unlearned: float) -> float:
    """R: what the metric may rise by, of what it rises by."""
    return min(max(retrained, 0.0) / unlearned, 1.0) if unlearned > 0 else 1.0


def _stays(model: Mapping[str, Readings], name: str) -> float:
    """Q: what the metric was, of what it is in few bits."""
    before, after = model[PLAIN][name].knowledge, model[QUANTISED][name].knowledge
    return min(before / after, 1.0) if after > 0 else 1.0
