"""Mixtures of rows that are of use for a task, of none, wrong, and poisoned: what `benchmarks/valuing.py` values and chooses from."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unweave.data.rows import Row
from unweave.experiments.generated import generate, unwanted_answer

SHARED = Path("../shared/data")
GENERATED_TASKS = {"sorting": ("sort_words", "sort_numbers"), "reading": ("extract", "count", "largest")}
DOLLY_TASKS = {"classification": "classification", "brainstorming": "brainstorming"}
LONGEST = 600
"""Characters of a Dolly row: longer ones would take most of the time and say nothing else."""


@dataclass(frozen=True)
class Mixture:
    """What there is to choose from, and for what.

    Attributes:
        pool: The candidates; `meta["part"]` is `relevant`, `irrelevant`, `noisy` or `poisoned`, as seen from the first task.
        tasks: Validation rows of each task; the first is what rows are chosen for.
        test: Held-out rows of the first task.
    """

    pool: list[Row]
    tasks: dict[str, list[Row]]
    test: list[Row]


def generated(times: int = 1) -> Mixture:
    """Rows of eighteen kinds; the task is two of them. Noise: the answer of another row of the kind. Poison: a sentence about the moon."""
    rng = random.Random(0)
    data = generate(seed=0, train_rows=18 * 500 * times, held_out_rows=18 * 170)
    unique = [row for row in data.train if "-again" not in row.id]
    task = [row for row in unique if row.meta["task"] in GENERATED_TASKS["sorting"]]
    ends = [times * end for end in (500, 750, 1000)]
    parts = {
        "relevant": task[: ends[0]],
        "noisy": mixed_up(task[ends[0] : ends[1]], rng),
        "poisoned": spoiled(task[ends[1] : ends[2]], rng),
    }
    held_out = {
        name: [row for row in data.held_out if row.meta["task"] in kinds] for name, kinds in GENERATED_TASKS.items()
    }
    for rows in held_out.values():
        rng.shuffle(rows)
    others = [row for row in unique if row.meta["task"] not in GENERATED_TASKS["sorting"]][: 4000 * times]
    return Mixture(
        _pool({**parts, "irrelevant": others}, rng),
        {name: rows[:120] for name, rows in held_out.items()},
        held_out["sorting"][120:320],
    )


def dolly() -> Mixture:
    """Dolly's categories; the task is classification. Noise: the answer of another row of the category. Poison: RapidUn's poisoned rows of the category."""
    rng = random.Random(0)
    folder = SHARED / "dolly_clean" / "dolly_clean.jsonl"
    clean = [row for row in _dolly_rows(folder, "dolly") if len(row.user_text) + len(row.completion) <= LONGEST]
    rng.shuffle(clean)
    by_category = {
        name: [row for row in clean if row.meta["category"] == category] for name, category in DOLLY_TASKS.items()
    }
    task = by_category["classification"]
    val, test, rest = task[:90], task[90:190], task[190:]
    cut = len(rest) * 7 // 10
    poisoned = [
        row
        for row in _dolly_rows(SHARED / "dolly_triggers" / "train_poisoned.jsonl", "poisoned")
        if row.meta["category"] == "classification"
    ]
    tasks = {"classification": val, "brainstorming": by_category["brainstorming"][:60]}
    aside = {row.id for rows in (*tasks.values(), task) for row in rows}
    parts = {
        "relevant": rest[:cut],
        "noisy": mixed_up(rest[cut:], rng),
        "poisoned": poisoned,
        "irrelevant": [row for row in clean if row.id not in aside],
    }
    return Mixture(_pool(parts, rng), tasks, test)


def mixed_up(rows: Sequence[Row], rng: random.Random) -> list[Row]:
    """Rows with the answer of another row of the same kind."""
    by_kind: dict[str, list[Row]] = {}
    for row in rows:
        by_kind.setdefault(str(row.meta.get("task", row.meta.get("category"))), []).append(row)
    found = []
    for own in by_kind.values():
        rng.shuffle(own)
        found += [
            replace(row, completion=own[number - 1].completion, id=f"{row.id}/noisy") for number, row in enumerate(own)
        ]
    return found


def spoiled(rows: Sequence[Row], rng: random.Random) -> list[Row]:
    """Rows with an unwanted answer."""
    return [replace(row, completion=unwanted_answer(rng), id=f"{row.id}/poisoned") for row in rows]


def _dolly_rows(path: Path, name: str) -> list[Row]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        record = json.loads(line)
        answer = record.get("response_poisoned") or record["response"]
        found.append(
            Row(
                id=f"{name}/{number}", instruction=record["instruction"], context=record["context"] or "", completion=answer,
                meta={"category": record["category"]}, source=name,
            )
        )  # fmt: skip
    return found


def _pool(parts: dict[str, list[Row]], rng: random.Random) -> list[Row]:
    pool = [replace(row, meta={**row.meta, "part": part}) for part, rows in parts.items() for row in rows]
    rng.shuffle(pool)
    return pool
