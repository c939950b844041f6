"""Counterfactual removal: the curve of a query's loss as more and more of the best rows are left out of training."""

from unweave.experiments.attribution.measure import Figure, Outcome, Plain, Scores, World
from unweave.experiments.attribution.measures.rankings import lost_without


class Removal(Plain):
    """How much a query's loss rises when the best 1, 2, 5 and 10 % of rows are left out of training, less the same of random rows: the mean over the curve."""

    name, scene, title = (
        "removal",
        "facts",
        "curve of the loss without the best 1 to 10 % of rows, less that without random ones",
    )
    figures = (Figure("removal", "removal, nats", digits=3),)

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """The curve.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Unused.

        Returns:
            `removal`, the curve's mean, its interval over queries and random removals; the curve in `values`.
        """
        del scorer
        found, values = lost_without(world, scores, world.removed_shares())
        return Outcome({"removal": found}, values)
