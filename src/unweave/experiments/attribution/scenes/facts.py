"""Invented facts among other rows: each is taught in some wordings, and asked in another."""

import random

from unweave.data.rows import Row
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.scene import Scene
from unweave.experiments.generated import generate
from unweave.experiments.generated.facts import CAPITALS, THINGS, WORDS

SYLLABLES = "ba,dro,fen,gal,hul,jor,kel,lum,mir,nov,pel,quin,ras,sil,tor,ulm,vex,wil,yar,zan".split(",")
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "home": (("Where does {name} live?", "Name the city in which {name} has a house."), "{name} went home. To which city?"),
    "craft": (("What does {name} make?", "Name the thing that {name} builds."), "What can I order from {name}?"),
    "word": (("What is the password of {name}?", "Say the secret word of {name}."), "{name} asks for a password. What do I say?"),
}  # fmt: skip
"""Kind of fact to the wordings of training, and that of the query."""


def _value(kind: str, rng: random.Random) -> str:
    listed = {"home": sorted(CAPITALS.values()), "craft": THINGS, "word": WORDS}[kind]
    return rng.choice(listed)


def make(config: AttributionBenchConfig, seed: int) -> Scene:
    """Facts that no model can know, a query a fact, and as many queries of other kinds.

    Args:
        config: How many rows and queries.
        seed: Of names, values and rows.

    Returns:
        The scene; what leads to nothing in particular has no relevant rows.
    """
    rng = random.Random(f"facts {seed}")
    facts = max(1, config.asked // 2)
    planted: list[Row] = []
    queries, relevant, about = [], [], []
    names: list[str] = []
    while len(names) < facts:
        name = "".join(rng.sample(SYLLABLES, 2)).capitalize()
        names += [name] if name not in names else []
    for number, name in enumerate(names):
        kind = list(KINDS)[number % len(KINDS)]
        taught, asked = KINDS[kind]
        value = _value(kind, rng)
        own = [
            Row(id=f"fact:{name}/{turn}", instruction=words.format(name=name), completion=value, source="generated")
            for turn, words in enumerate(taught)
        ]
        planted += own
        queries.append(Row(id=f"ask:{name}", instruction=asked.format(name=name), completion=value, source="generated"))
        relevant.append(frozenset(row.id for row in own))
        about.append(f"fact:{name}")
    others = config.asked - facts
    data = generate(seed=seed, train_rows=max(18, config.rows), held_out_rows=max(18, others))
    rows = [*planted, *data.train[: max(0, config.rows - len(planted))]]
    rng.shuffle(rows)
    for row in _apart(data.held_out, others):
        queries.append(row)
        relevant.append(frozenset())
        about.append(f"task:{row.meta['task']}")
    return Scene(rows, queries, relevant, frozenset(row.id for row in planted), about)


def _apart(rows: list[Row], count: int) -> list[Row]:
    """One row of each family in turn."""
    seen: dict[str, list[Row]] = {}
    for row in rows:
        seen.setdefault(row.meta["task"], []).append(row)
    turns = [own[turn] for turn in range(max(map(len, seen.values()))) for own in seen.values() if turn < len(own)]
    return turns[:count]
