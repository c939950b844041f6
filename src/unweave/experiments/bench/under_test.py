"""What a comparison is made on: a poisoned model with tests of forgetting and of what must stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from unweave.data.rows import Row


@dataclass(frozen=True)
class Measure:
    """One number of a model.

    Attributes:
        name: In the results.
        title: In tables.
        brief: In a terminal's tables.
        kind: `share` is shown in per cent, and its intervals end at 0 and 1; `number` as it is.
        digits: After the point.
        rows: Which per-row values it is the mean of, for paired comparisons; empty where it is not.
        margin: The difference of such values that matters.
    """

    name: str
    title: str
    brief: str
    kind: Literal["share", "number"] = "number"
    digits: int = 3
    rows: str = ""
    margin: float = 0.0


@dataclass(frozen=True)
class Axis:
    """One axis of the trade-off plot.

    Attributes:
        measure: Which measure.
        better: `low` or `high`.
    """

    measure: str
    better: Literal["low", "high"]


class ModelUnderTest(Protocol):
    """The tests of a comparison.

    Attributes:
        name: Of what the model learned.
        has_clean_answers: Whether the forget rows come with the answers that should stand in the place of theirs.
        measures: What is measured.
        forgetting: The measure of forgetting in the plot.
        utility: That of what must stay.
    """

    name: str
    has_clean_answers: bool
    measures: tuple[Measure, ...]
    forgetting: Axis
    utility: Axis

    def rows(self, size: int, seed: int) -> tuple[list[Row], list[Row]]:
        """Forget and retain rows of a run.

        Args:
            size: Forget rows.
            seed: Of the sample.

        Returns:
            Both.
        """
        ...

    def measure(self, model: str, split: str, size: int) -> dict[str, Any]:
        """Measure a model.

        Args:
            model: The model.
            split: `validation` or `test`.
            size: Forget rows, where the tests depend on them.

        Returns:
            Each measure's value, and under `rows` the per-row values.
        """
        ...

    def choose(self, trials: Sequence[dict[str, Any]], before: dict[str, Any], *, margin: float) -> dict[str, Any]:
        """The best trial on the validation split.

        Args:
            trials: Their measures.
            before: Those of the poisoned model.
            margin: How much what must stay may suffer.

        Returns:
            One of the trials.
        """
        ...


def within_margin(
    trials: Sequence[dict[str, Any]], before: dict[str, Any], names: Sequence[str], *, margin: float
) -> list[dict[str, Any]]:
    """The trials under which no loss has risen by more than a margin; where there are none, the one with the least damage.

    Args:
        trials: Their measures.
        before: Those of the poisoned model.
        names: The losses.
        margin: In nats a token.

    Returns:
        At least one trial.
    """

    def damage(trial: dict[str, Any]) -> float:
        return max(trial[name] - before[name] for name in names)

    return [trial for trial in trials if damage(trial) <= margin] or [min(trials, key=damage)]
