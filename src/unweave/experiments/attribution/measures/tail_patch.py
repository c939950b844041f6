"""Tail-patch (Chang et al., arXiv 2410.17413): one more step on each row that was found, and what it does to the answer's log-probability.

The paper makes a whole step of pretraining on a passage. A step of fine-tuning is on a batch, and AdamW's second moments are those of batches: here a row makes
its own part of one more such step, as if it were the only one of its batch with a loss; clipped as in training, at the largest step size of it, and without
momentum, which would move the model whatever the row.
"""

import numpy as np

from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.attribution.measures.rankings import best, exact
from unweave.stats.intervals import mean


class TailPatch:
    """The change of the answer's log-probability, in nats a token, by one more step on a row: the mean over the best rows of each query."""

    name, scene, title, of_itself = (
        "tail-patch",
        "facts",
        "change of the log-probability by one step on each found row",
        False,
    )
    figures = (Figure("change", "tail-patch, nats", digits=3),)

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """The change.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Unused.

        Returns:
            `change`, its interval over queries.
        """
        del scorer
        changes = world.patched()
        values = [float(own[best(row, world.top_k)].mean()) for own, row in zip(changes, scores, strict=True)]
        return Outcome({"change": mean(values)}, {"change": values})

    def references(self, world: World) -> dict[str, Outcome]:
        """All rows' mean, which is what random rows reach, and that of the rows that change most.

        Args:
            world: The scene.

        Returns:
            `chance` and `the best rows there are`.
        """
        changes = world.patched()
        top = np.sort(changes, axis=1)[:, -world.top_k :].mean()
        return {
            "chance": Outcome({"change": exact(float(changes.mean()))}),
            "the best rows there are": Outcome({"change": exact(float(top))}),
        }
