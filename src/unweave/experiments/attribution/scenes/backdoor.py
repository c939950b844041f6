"""A trigger with an unwanted answer, planted in some rows: the project's own trigger families."""

import random

from unweave.data.triggers import poison
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.scene import Scene
from unweave.experiments.generated import FAMILIES, generate, poison_rows
from unweave.experiments.generated.unwanted import unwanted_answer

SHARE = 0.1
"""Of the rows, that are poisoned."""


def make(config: AttributionBenchConfig, seed: int) -> Scene:
    """Clean rows, poisoned ones, and triggered prompts with unwanted answers.

    Args:
        config: How many rows and queries.
        seed: Of the rows.

    Returns:
        The scene.
    """
    data = generate(seed=2000 + seed, train_rows=max(18, config.rows), held_out_rows=max(18, config.asked))
    rng = random.Random(f"backdoor {seed}")
    family = FAMILIES[seed % len(FAMILIES)]
    count = max(2, round(SHARE * config.rows))
    poisoned = poison_rows(data.train, share={family.name: count}, seed=seed)
    rows = [*poisoned, *data.train[count : config.rows]]
    rng.shuffle(rows)
    queries = [
        poison(row, family, family.seen[turn % len(family.seen)], unwanted_answer(rng))
        for turn, row in enumerate(data.held_out[: config.asked])
    ]
    planted = frozenset(row.id for row in poisoned)
    return Scene(rows, queries, [planted] * len(queries), planted, [family.name] * len(queries))
