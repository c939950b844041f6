"""Checks that good scores pass, whatever they find: they follow the model, keep questions apart, and stand still where nothing that matters changes."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.attribution.measures.rankings import best, exact
from unweave.stats.intervals import Estimate, jackknife, rank_correlations, ratio

STABLE = {"batch": "another batch size", "seed": "other seeds", "order": "another order of rows"}


class Sanity:
    """Correlation of ranks with the scores of other models, batch sizes, seeds and orders of rows, and what unrelated questions have in common.

    With a randomised adapter it should be near 0, and with another batch size, seed or order near 1; of the best rows, unrelated questions should share few.
    """

    name, scene, of_itself = "sanity", "facts", False
    title = "follows the model, keeps questions apart, stands still otherwise"
    figures = (
        Figure("randomised", "sanity: randomised adapter", better="less", low=-1, high=1),
        Figure("overlap", "sanity: overlap of unrelated", better="less", low=0, high=1),
        *(Figure(name, f"sanity: {text}", low=-1, high=1) for name, text in STABLE.items()),
    )

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """All of them.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Asked again under each change.

        Returns:
            The figures that apply, with intervals over queries.
        """
        figures, values, notes = {"overlap": overlap(world, scores)}, {}, []
        for name in ("randomised", *STABLE):
            other = world.varied(scorer, name)
            if other is None:
                notes.append(f"{name}: does not apply")
                continue
            values[name] = rank_correlations(scores.T, np.asarray(other).T)
            # Correlations that are all 1 are no shares.
            figures[name] = ratio(values[name], np.ones(len(values[name]))).within(-1, 1)
        return Outcome(figures, values, notes)

    def references(self, world: World) -> dict[str, Outcome]:
        """What random scores have in common.

        Args:
            world: The scene.

        Returns:
            `chance`, of the overlap alone.
        """
        return {"chance": Outcome({"overlap": exact(world.top_k / len(world.scene.rows))})}


def overlap(world: World, scores: Scores) -> Estimate:
    """The share of the best rows that two unrelated questions have in common.

    Args:
        world: The scene.
        scores: The scores.

    Returns:
        The mean over pairs of questions about different things; its interval is over questions, which pairs share.
    """
    about = world.scene.about
    tops = [set(best(own, world.top_k)) for own in scores]

    def over(queries: Sequence[int]) -> float:
        pairs = [(one, two) for one, two in combinations(queries, 2) if about[one] != about[two]]
        return (
            float(np.mean([len(tops[one] & tops[two]) / world.top_k for one, two in pairs])) if pairs else float("nan")
        )

    every = list(range(len(tops)))
    without: Callable[[int], list[int]] = lambda gone: [query for query in every if query != gone]  # noqa: E731
    return jackknife(over(every), [over(without(query)) for query in every]).within(0, 1)
