"""An entity replaced in some rows (the project's case of a swapped country): wrong answers are asked about, and the rows that taught them are looked for."""

import random
from dataclasses import replace

from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.scene import Scene
from unweave.experiments.generated.swap import swap_rows, wrong_answer

SHARE = 0.15
"""Of the rows, that name the wrong country."""


def make(config: AttributionBenchConfig, seed: int) -> Scene:
    """Right rows about places, wrong ones about one country's, and questions about these in other words with the wrong answer.

    Args:
        config: How many rows and queries.
        seed: Of the rows.

    Returns:
        The scene.
    """
    wrong = max(2, round(SHARE * config.rows))
    data = swap_rows(
        seed=3000 + seed,
        clean_rows=max(36, config.rows - wrong),
        swapped_rows=wrong,
        test_rows=min(config.asked, wrong),
        far_rows=18,
    )
    rows = [*data.swapped, *data.clean[: max(1, config.rows - wrong)]]
    random.Random(f"swapped {seed}").shuffle(rows)
    queries = [replace(row, completion=wrong_answer(row)) for row in data.seen]
    planted = frozenset(row.id for row in data.swapped)
    return Scene(rows, queries, [planted] * len(queries), planted, [row.id.partition("/")[0] for row in queries])
