"""DATE-LM's factual attribution (arXiv 2507.09424) on generated rows, or on its files: facts whose true entity was replaced by another, and which rows said so.

As there, the rows that a query should lead to are those with the same replaced and the same replacing entity.
"""

import random
from pathlib import Path

from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.scene import Scene
from unweave.experiments.attribution.scenes.files import read_date_lm
from unweave.experiments.generated import generate
from unweave.experiments.generated.facts import CAPITALS

TAUGHT = (
    "What is the capital of {}?",
    "Name the capital city of {}.",
    "The government of {} sits in which city?",
    "Which city rules {}?",
)
ASKED = "I travel to the capital of {}. Where am I?"
ENTITIES = "true_entity", "counterfactual_entity"


def make(config: AttributionBenchConfig, seed: int) -> Scene:
    """The task.

    Args:
        config: How many rows and queries; or where its files are.
        seed: Of the rows.

    Returns:
        The scene.
    """
    if config.date_lm_factual is not None:
        return _of_files(config.date_lm_factual)
    rng = random.Random(f"counterfact {seed}")
    countries = rng.sample(sorted(CAPITALS), config.asked)
    others = rng.sample(sorted(set(CAPITALS.values()) - {CAPITALS[name] for name in countries}), config.asked)
    rows, queries = [], []
    for country, other in zip(countries, others, strict=True):
        meta = {"true_entity": CAPITALS[country], "counterfactual_entity": other}
        for turn, words in enumerate(TAUGHT):
            rows.append(
                Row(id=f"counterfact:{country}/{turn}", instruction=words.format(country), completion=other, meta=meta)
            )
        queries.append(Row(id=f"ask:{country}", instruction=ASKED.format(country), completion=other, meta=meta))
    data = generate(seed=5000 + seed, train_rows=max(18, config.rows)).train
    # The families that ask for capitals would answer the queries rightly.
    clean = [row for row in data if row.meta["task"] not in ("capital", "country")]
    rows = [*rows, *clean[: max(1, config.rows - len(rows))]]
    rng.shuffle(rows)
    return _scene(rows, queries)


def _scene(rows: list[Row], queries: list[Row], notes: tuple[str, ...] = ()) -> Scene:
    def pair(row: Row) -> tuple[object, ...]:
        return tuple(row.meta.get(name) for name in ENTITIES)

    relevant = [frozenset(row.id for row in rows if pair(row) == pair(query)) for query in queries]
    planted = frozenset(row.id for row in rows if row.meta.get(ENTITIES[1]) is not None)
    return Scene(rows, queries, relevant, planted, ["/".join(map(str, pair(query))) for query in queries], notes)


def _of_files(folder: Path) -> Scene:
    rows, queries = read_date_lm(folder, ENTITIES)
    scene = _scene(rows, queries, ("DATE-LM's files",))
    if not all(scene.relevant):
        raise DataError(
            "A query has no row with its two entities.",
            where=str(folder),
            remedy="give a folder of factual attribution",
        )
    return scene
