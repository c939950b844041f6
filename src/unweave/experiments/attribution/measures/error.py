"""Error tracing: an entity was replaced in some rows; do these rank first for the wrong answers?"""

from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.attribution.measures.planted import area, chance_of_area
from unweave.experiments.attribution.measures.rankings import best
from unweave.stats.intervals import mean


class ErrorTracing:
    """Of rows in which an entity was replaced: their share of the best rows of each wrong answer, and auPRC by the mean score."""

    name, scene, title, of_itself = "error", "swapped", "rows with a replaced entity, from wrong answers", False
    figures = (Figure("top", "error: share of the top", low=0, high=1), Figure("auprc", "error: auPRC", low=0, high=1))

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """Both.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Unused.

        Returns:
            `top` and `auprc` with intervals over queries.
        """
        del scorer
        wrong = world.scene.places(world.scene.planted)
        count = min(world.top_k, sum(wrong))
        shares = [sum(wrong[place] for place in best(own, count)) / count for own in scores]
        return Outcome({"top": mean(shares).within(0, 1), "auprc": area(world, scores)}, {"top": shares})

    def references(self, world: World) -> dict[str, Outcome]:
        """What random scores reach.

        Args:
            world: The scene.

        Returns:
            `chance`.
        """
        found = chance_of_area(world, "auprc")["chance"].figures["auprc"]
        return {"chance": Outcome({"top": found, "auprc": found})}
