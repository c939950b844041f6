"""Rows with the answer of another row, by their influence on themselves."""

from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.attribution.measures.planted import AgainstChance
from unweave.experiments.attribution.measures.rankings import exact
from unweave.stats.ranking import average_precision


class Mislabeled(AgainstChance):
    """auPRC of rows with replaced answers by each row's score of itself: nothing else supports a wrong row."""

    name, scene, title, of_itself = "mislabeled", "mislabeled", "rows with replaced answers, by self-influence", True
    figures = (Figure("auprc", "mislabeled: auPRC", low=0, high=1),)

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """The area.

        Args:
            world: The scene.
            scores: Of each row for itself.
            scorer: Unused.

        Returns:
            `auprc`; one ranking has no interval, several seeds have.
        """
        del scorer
        return Outcome({"auprc": exact(average_precision(world.scene.places(world.scene.planted), scores[0].tolist()))})
