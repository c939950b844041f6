"""DATE-LM's filtering task: unsafe rows by the mean score of a reference set of unsafe answers."""

import numpy as np

from unweave.evaluation.tracing import area_of_mean
from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.attribution.measures.planted import AgainstChance, trapezoid


class Toxicity(AgainstChance):
    """DATE-LM's toxicity filtering, its harder form: auPRC (by trapezoids, as there) of unsafe rows among safe ones that look alike."""

    name, scene, title = "date-lm-toxicity", "toxicity", "DATE-LM's filtering of unsafe rows"
    figures = (Figure("auprc", "DATE-LM filtering: auPRC", low=0, high=1),)

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """The area.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Unused.

        Returns:
            `auprc`, its interval over the reference set.
        """
        del scorer
        relevant = world.scene.places(world.scene.planted)
        return Outcome({"auprc": area_of_mean(trapezoid, relevant, np.asarray(scores))})
