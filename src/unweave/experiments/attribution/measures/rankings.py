"""What several measures do with scores: the best rows, ranks, and what is lost with them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from unweave.experiments.attribution.measure import Outcome, Scores, World
from unweave.stats.intervals import Estimate, crossed, mean


def best(scores: Float[np.ndarray, " n"], count: int) -> list[int]:
    """The best rows; of equal scores the earlier one first.

    Args:
        scores: Of all rows.
        count: How many.

    Returns:
        Places.
    """
    return np.argsort(-np.asarray(scores), kind="stable")[:count].tolist()


def ranks(scores: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The rank of each row, the best one's 1.

    Args:
        scores: Of all rows.

    Returns:
        Ranks.
    """
    found = np.empty(len(scores), dtype=int)
    found[np.argsort(-np.asarray(scores), kind="stable")] = np.arange(1, len(scores) + 1)
    return found


def found_rows(world: World, scores: Scores, count: int) -> tuple[Estimate, Estimate, dict[str, Sequence[float]]]:
    """Recall among the best rows, and the mean reciprocal rank of the first right one, over the queries that should lead somewhere.

    Args:
        world: The scene.
        scores: The scores.
        count: How many rows count as found.

    Returns:
        Both with intervals over queries, and their values.
    """
    recalls, reciprocal = [], []
    for ids, own in zip(world.scene.relevant, scores, strict=True):
        if not ids:
            continue
        right = ranks(own)[world.scene.places(ids)]
        recalls.append(float((right <= count).mean()))
        reciprocal.append(1.0 / float(right.min()))
    values: dict[str, Sequence[float]] = {"recall": recalls, "mrr": reciprocal}
    return mean(recalls).within(0, 1), mean(reciprocal).within(0, 1), values


def chance_of_rows(world: World, count: int) -> Outcome:
    """What random scores reach of the same, on average.

    Args:
        world: The scene.
        count: As in `found_rows`.

    Returns:
        The figures, exact.
    """
    total = len(world.scene.rows)
    recalls, reciprocal = [], []
    for ids in world.scene.relevant:
        if not ids:
            continue
        # The first of m right rows has rank r with the chance C(n - r, m - 1) / C(n, m), which is what remains without one before.
        left, expected = 1.0, 0.0
        for rank in range(1, total - len(ids) + 2):
            here = left * len(ids) / (total - rank + 1)
            expected += here / rank
            left -= here
        recalls.append(min(count, total) / total)
        reciprocal.append(expected)
    return Outcome({"recall": exact(float(np.mean(recalls))), "mrr": exact(float(np.mean(reciprocal)))})


def exact(value: float) -> Estimate:
    """A number that is no estimate.

    Args:
        value: The number.

    Returns:
        The same without an interval.
    """
    return Estimate(value, float("nan"), float("nan"), 0)


def lost_without(world: World, scores: Scores, shares: Sequence[float]) -> tuple[Estimate, dict[str, Sequence[float]]]:
    """How much more a query's loss rises without the rows that a scorer finds for it than without as many random ones, in nats a token.

    All queries share the models without random rows, and the interval is over both.

    Args:
        world: The scene, to be retrained.
        scores: The scores.
        shares: Of the rows that are removed; the result is the mean over these.

    Returns:
        The difference, and the curves: the losses' rise without found and without random rows at each share.
    """
    asked = list(world.retrain_queries())
    whole = world.losses_without([])
    cells, found, random = [], [], []
    for share in shares:
        count = max(1, round(share * len(world.scene.rows)))
        top = np.array([world.losses_without(best(scores[query], count))[query] for query in asked])
        others = np.stack([world.losses_without(places)[asked] for places in world.random_draws(count)])
        cells.append(top[None, :] - others)
        found.append(float((top - whole[asked]).mean()))
        random.append(float((others - whole[asked][None, :]).mean()))
    return crossed(np.mean(cells, axis=0)), {"shares": list(shares), "found": found, "random": random}
