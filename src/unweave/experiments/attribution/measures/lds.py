"""Linear datamodelling score: does the summed influence of the rows that a model saw predict the model's losses?"""

import numpy as np

from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.influence.lds import datamodelling_score


class Lds:
    """Spearman's correlation, over models retrained on random halves, of summed scores and measured losses, for each query (Park et al. 2023)."""

    name, scene, title, of_itself = "lds", "facts", "predicts retraining on random halves", False
    figures = (Figure("lds", "LDS", low=-1, high=1),)

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """The score.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Unused.

        Returns:
            `lds`, its interval over models and queries.
        """
        del scorer
        measured = -world.half_losses().mean(axis=0)
        predicted = np.stack([scores[:, list(half)].sum(axis=1) for half in world.halves()])
        return Outcome({"lds": datamodelling_score(predicted, measured)})

    def references(self, world: World) -> dict[str, Outcome]:
        """What one order of training says of another, which no score can be expected to beat by much.

        Args:
            world: The scene.

        Returns:
            `another order`, where there are two.
        """
        losses = world.half_losses()
        if len(losses) < 2:
            return {}
        return {"another order": Outcome({"lds": datamodelling_score(-losses[0], -losses[1])})}
