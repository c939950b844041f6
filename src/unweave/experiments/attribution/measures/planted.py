"""Planted rows by the mean score of all queries: areas under the curve of precision and recall."""

from collections.abc import Sequence

import numpy as np

from unweave.evaluation.tracing import area_of_mean
from unweave.experiments.attribution.measure import Outcome, Scores, World
from unweave.experiments.attribution.measures.rankings import exact
from unweave.stats.intervals import Estimate
from unweave.stats.ranking import average_precision, precision_recall_curve


def area(world: World, scores: Scores) -> Estimate:
    """auPRC of the planted rows by the mean score.

    Args:
        world: The scene.
        scores: The scores.

    Returns:
        The area, its interval over queries.
    """
    return area_of_mean(average_precision, world.scene.places(world.scene.planted), np.asarray(scores))


def chance_of_area(world: World, name: str) -> dict[str, Outcome]:
    """What random scores reach of it: the share of planted rows.

    Args:
        world: The scene.
        name: Of the figure.

    Returns:
        `chance`.
    """
    return {"chance": Outcome({name: exact(len(world.scene.planted) / len(world.scene.rows))})}


class AgainstChance:
    """A measure of the area `auprc`, of which random scores reach the share of planted rows."""

    of_itself = False

    def references(self, world: World) -> dict[str, Outcome]:
        """What random scores reach.

        Args:
            world: The scene.

        Returns:
            `chance`.
        """
        return chance_of_area(world, "auprc")


def trapezoid(relevant: Sequence[bool], scores: Sequence[float]) -> float:
    """The area under the curve of precision and recall by trapezoids from (0, 1) on, as DATE-LM has it: a little above average precision.

    Args:
        relevant: Whether each row is one to be found.
        scores: Higher means found earlier.

    Returns:
        In [0, 1]; NaN when no row is relevant.
    """
    if not any(relevant):
        return float("nan")
    recall, precision = precision_recall_curve(relevant, scores)
    return float(np.trapezoid([1.0, *precision], [0.0, *recall]))
