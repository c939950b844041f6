"""Rows of which some have the answer of another row of their family."""

import random
from dataclasses import replace

from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.scene import Scene
from unweave.experiments.generated import generate

SHARE = 0.15
"""Of the rows, that are wrong."""


def make(config: AttributionBenchConfig, seed: int) -> Scene:
    """Half as many rows as other scenes have, since each is asked about itself.

    Args:
        config: How many rows.
        seed: Of the rows.

    Returns:
        The scene, whose queries are its rows.
    """
    rng = random.Random(f"mislabeled {seed}")
    rows = generate(seed=1000 + seed, train_rows=max(18, config.rows // 2)).train
    families: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        families.setdefault(row.meta["task"], []).append(place)
    wrong: set[str] = set()
    order = rng.sample(range(len(rows)), len(rows))
    answers = [row.completion for row in rows]
    for place in order:
        others = [answers[other] for other in families[rows[place].meta["task"]] if answers[other] != answers[place]]
        if others and len(wrong) < max(1, round(SHARE * len(rows))):
            rows[place] = replace(rows[place], completion=rng.choice(others))
            wrong.add(rows[place].id)
    return Scene(rows, rows, planted=frozenset(wrong), about=[row.meta["task"] for row in rows])
