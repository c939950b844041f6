"""Loss of a query after retraining without the best 1 % of rows, less that without a random 1 %."""

from unweave.experiments.attribution.measure import Figure, Outcome, Plain, Scores, World
from unweave.experiments.attribution.measures.rankings import lost_without

SHARE = 0.01
"""At least one row."""


class Qld(Plain):
    """How much a query's loss rises, in nats a token, when the 1 % of rows that a scorer finds for it is left out of training, against a random 1 %."""

    name, scene, title = "qld", "facts", "loss without the best 1 % of rows, less that without a random 1 %"
    figures = (Figure("qld", "QLD, nats", digits=3),)

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """The difference.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Unused.

        Returns:
            `qld`, its interval over queries and random removals.
        """
        del scorer
        found, values = lost_without(world, scores, [SHARE])
        return Outcome({"qld": found}, values)
