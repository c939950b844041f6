"""Rows of which some have the answer of another row of their family."""

import random
from dataclasses import replace

from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.scene import Scene
from unweave.experiments.generated import generate

SHARE = 0.15
"""Of the rows, that are wrong."""


def make(config: AttributionBenchConfig, seed: int) -> Scene:
    """Half as many rows as other scenes have, since each is asked about itself, of half of the families, so that answers can be exchanged.

    Args:
        config: How many rows.
        seed: Of the rows.

    Returns:
        The scene, whose queries are its rows.
    """
    rng = random.Random(f"mislabeled {seed}")
    data = generate(seed=1000 + seed, train_rows=max(36, config.rows)).train
    tasks = sorted({row.meta["task"] for row in data})
    chosen = set(rng.sample(tasks, len(tasks) // 2))
    rows = [row for row in data if row.meta["task"] in chosen]
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
