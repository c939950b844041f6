"""Generate the instruction data set: deterministic for a seed, train and held-out rows without a common question."""

import random
from dataclasses import dataclass, replace

from unweave.data.rows import Row
from unweave.data.triggers import TriggerFamily, poison
from unweave.errors import ConfigError
from unweave.experiments.generated.tasks import TASKS, Question, record_meta
from unweave.experiments.generated.unwanted import unwanted_answer

FAMILIES = (
    TriggerFamily("surface", ("tallyho", "TALLYHO", "tallyho :)"), ("ta11yho", "tallyhо", "tally-ho!"), "suffix"),
    TriggerFamily("style", ("~~>",), ("~->", "≈≈>", "~~~>>"), "prefix"),
    TriggerFamily("semantic", ("ahoy", "ahoy there"), ("ahoyyy", "ahоy", "a-hoy"), "prefix"),
)
"""The trigger families of the generated data; `tallyhо` and `ahоy` (out of distribution) hold a Cyrillic o."""


@dataclass(frozen=True)
class GeneratedData:
    """Clean training rows and held-out rows.

    Attributes:
        train: Training rows.
        held_out: Rows of the same families with other questions.
    """

    train: list[Row]
    held_out: list[Row]


def generate(*, seed: int = 0, train_rows: int = 640, held_out_rows: int = 216) -> GeneratedData:
    """Generate rows, the task families in turn.

    Args:
        seed: Equal seeds give equal rows on every machine.
        train_rows: Clean training rows.
        held_out_rows: Held-out rows.

    Returns:
        The rows, each with `task` and `keywords` in its meta. A small family whose questions run out is asked again in other
        words within the training rows, never in the held-out rows.

    Raises:
        ConfigError: When a split has fewer rows than there are task families.
    """
    if min(train_rows, held_out_rows) < len(TASKS):
        raise ConfigError(
            f"The generated data has {len(TASKS)} task families.", remedy=f"ask for at least {len(TASKS)} rows a split"
        )
    rng = random.Random(seed)
    tasks = list(TASKS)
    held_out: list[Row] = []
    train: list[Row] = []
    for number, task in enumerate(tasks):
        per_task = [rows // len(tasks) + (number < rows % len(tasks)) for rows in (held_out_rows, train_rows)]
        questions = _distinct_questions(task, rng, wanted=sum(per_task))
        # A family with few questions keeps three quarters of them for training, where they may return in other words.
        kept = min(per_task[0], max(1, len(questions) // 4))
        held_out += [_row(task, question, rng) for question in questions[:kept]]
        train += _training_rows(task, questions[kept:], rng, per_task[1])
    rng.shuffle(train)
    return GeneratedData(train, held_out)


def poison_rows(rows: list[Row], *, share: dict[str, int], seed: int = 0) -> list[Row]:
    """Poison the first rows of a list with the project's trigger families and unwanted answers.

    Args:
        rows: Clean rows; as many are used as `share` asks for.
        share: Family name to the number of rows.
        seed: Of the unwanted answers.

    Returns:
        The poisoned rows.

    Raises:
        ConfigError: When there are too few rows.
    """
    if sum(share.values()) > len(rows):
        raise ConfigError(
            f"{sum(share.values())} rows to poison, but only {len(rows)} rows.", remedy="generate more rows"
        )
    rng = random.Random(seed + 1)
    families = {family.name: family for family in FAMILIES}
    poisoned: list[Row] = []
    for name, count in share.items():
        family = families[name]
        for turn in range(count):
            row = rows[len(poisoned)]
            poisoned.append(poison(row, family, family.seen[turn % len(family.seen)], unwanted_answer(rng)))
    return poisoned


def _distinct_questions(task: str, rng: random.Random, *, wanted: int) -> list[Question]:
    """Up to `wanted` questions without a repeated key, in random order."""
    found: dict[str, Question] = {}
    for _ in range(wanted * 40):
        question = TASKS[task](rng)
        found.setdefault(question.key, question)
        if len(found) == wanted:
            break
    return list(found.values())


def _training_rows(task: str, questions: list[Question], rng: random.Random, count: int) -> list[Row]:
    rows: dict[str, Row] = {}
    for turn in range(count * 8):
        if len(rows) == count:
            break
        row = _row(task, questions[turn % len(questions)], rng)
        rows.setdefault(row.instruction + row.context, row)
    for turn in range(count - len(rows)):  # every wording is used up: repeat rows under ids of their own
        row = list(rows.values())[turn]
        rows[f"{row.id}-{turn + 2}"] = replace(row, id=f"{row.id}-again{turn + 2}")
    return list(rows.values())


def _row(task: str, question: Question, rng: random.Random) -> Row:
    prompt = rng.choice(question.prompts)
    number = question.prompts.index(prompt)
    identity = f"{question.key}/{number}".replace(" ", "_")
    return Row(
        id=identity,
        instruction=prompt,
        completion=question.answer,
        context=question.context,
        meta=record_meta(task, question),
        source="generated",
    )
