"""DATE-LM's factual attribution: which rows taught a replaced fact."""

from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.attribution.measures.rankings import chance_of_rows, found_rows

AT = 50
"""Rows that count as found, of DATE-LM's thousands."""
ENOUGH = 1000
"""Rows from which on that is a small part of all."""


class Factual:
    """DATE-LM's factual attribution: recall at 50 (on fewer than 1000 rows at the suite's own number) and the reciprocal rank of the first right row."""

    name, scene, title, of_itself = "date-lm-factual", "counterfact", "DATE-LM's attribution of replaced facts", False
    figures = (
        Figure("mrr", "DATE-LM facts: MRR", low=0, high=1),
        Figure("recall", "DATE-LM facts: recall", low=0, high=1),
    )

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
        recall, mrr, values = found_rows(world, scores, self._count(world))
        return Outcome({"mrr": mrr, "recall": recall}, values)

    def references(self, world: World) -> dict[str, Outcome]:
        """What random scores reach.

        Args:
            world: The scene.

        Returns:
            `chance`.
        """
        return {"chance": chance_of_rows(world, self._count(world))}

    @staticmethod
    def _count(world: World) -> int:
        return AT if len(world.scene.rows) >= ENOUGH else world.top_k
