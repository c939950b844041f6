"""What a measure is: on which scene, of whose scores, and which figures it gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from unweave.experiments.attribution.scene import Scene
from unweave.stats.intervals import Estimate

Better = Literal["more", "less", "neither"]


@dataclass(frozen=True)
class Figure:
    """A number of a measure.

    Attributes:
        name: Its key in results.
        title: In the table.
        better: Which way is better.
        digits: Behind the point.
        low: The smallest value that is possible.
        high: The largest.
    """

    name: str
    title: str
    better: Better = "more"
    digits: int = 2
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True)
class Outcome:
    """What a measure gave for one scorer in one world.

    Attributes:
        figures: Name to number and interval; one that does not apply to the scorer is left out.
        values: What the figures are made of: one value a query, or a point of a curve.
        notes: Why something is left out.
    """

    figures: Mapping[str, Estimate]
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: Sequence[str] = ()


Scores = Float[np.ndarray, "q n"]


class World(Protocol):
    """A scene with a model that was trained on it."""

    scene: Scene
    top_k: int
    seed: int

    def halves(self) -> Sequence[Sequence[int]]:
        """Places of the rows that models are retrained on, for the linear datamodelling score."""
        ...

    def half_losses(self) -> Float[np.ndarray, "o m q"]:
        """The queries' losses under each of these models, in each order of training."""
        ...

    def losses_without(self, places: Sequence[int]) -> Float[np.ndarray, " q"]:
        """The queries' losses after the recorded training without some rows."""
        ...

    def retrain_queries(self) -> Sequence[int]:
        """Places of the queries for which models are retrained."""
        ...

    def removed_shares(self) -> Sequence[float]:
        """Shares of the rows that are removed."""
        ...

    def random_draws(self, count: int) -> Sequence[Sequence[int]]:
        """Random rows to remove, the same for every scorer."""
        ...

    def patched(self) -> Float[np.ndarray, "q n"]:
        """The change of each query's log-probability, in nats a token, by one more step on each row."""
        ...

    def varied(self, scorer: str, variation: str) -> Scores | None:
        """A scorer's scores under a change that should matter, or should not; `None` where it does not apply."""
        ...


@runtime_checkable
class Measure(Protocol):
    """A measure of attribution; made without arguments.

    Attributes:
        name: In the registry.
        scene: The scene's name.
        title: What is measured, for people.
        figures: Its numbers, the main one first.
        of_itself: Whether each row's score of itself is looked at, and not the scores of all rows: `scores` has one query then.
    """

    name: str
    scene: str
    title: str
    figures: tuple[Figure, ...]
    of_itself: bool

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """Measure a scorer.

        Args:
            world: The scene with its model.
            scores: Of each query and row; larger is more influence.
            scorer: The name, for what is asked of it anew.

        Returns:
            The figures.
        """
        ...

    def references(self, world: World) -> dict[str, Outcome]:
        """What scores without a name would reach: chance, or a ceiling.

        Args:
            world: The same.

        Returns:
            Name to figures.
        """
        ...


class Plain:
    """A measure without references, of all rows' scores."""

    of_itself = False

    def references(self, world: World) -> dict[str, Outcome]:
        """None.

        Args:
            world: Unused.

        Returns:
            Nothing.
        """
        del world
        return {}
