"""A planted trigger: are the rows that have it found from triggered answers?"""

from unweave.experiments.attribution.measure import Figure, Outcome, Scores, World
from unweave.experiments.attribution.measures.planted import AgainstChance, area


class Backdoor(AgainstChance):
    """auPRC of the rows with a planted trigger and unwanted answer, by the mean score of triggered prompts with such answers."""

    name, scene, title = "backdoor", "backdoor", "rows with a planted trigger, from triggered answers"
    figures = (Figure("auprc", "backdoor: auPRC", low=0, high=1),)

    def __call__(self, world: World, scores: Scores, scorer: str) -> Outcome:
        """The area.

        Args:
            world: The scene.
            scores: The scores.
            scorer: Unused.

        Returns:
            `auprc`, its interval over queries.
        """
        del scorer
        return Outcome({"auprc": area(world, scores)})
