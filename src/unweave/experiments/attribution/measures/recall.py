"""Planted facts asked in other words: are the rows that taught them found?"""

from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.attribution.measures.rankings import chance_of_rows, found_rows


class Recall:
    """Recall among the best rows, and the reciprocal rank of the first right one, of invented facts that are asked in words that no row has."""

    name, scene, title, of_itself = "recall", "facts", "planted facts asked in other words", False
    figures = (Figure("mrr", "facts: MRR", low=0, high=1), Figure("recall", "facts: recall", low=0, high=1))

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """Both.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Unused.

        Returns:
            `mrr` and `recall` with intervals over queries.
        """
        del scorer
        recall, mrr, values = found_rows(world, scores, world.top_k)
        return Outcome({"mrr": mrr, "recall": recall}, values)

    def references(self, world: World) -> dict[str, Outcome]:
        """What random scores reach.

        Args:
            world: The scene.

        Returns:
            `chance`.
        """
        return {"chance": chance_of_rows(world, world.top_k)}
