"""A case in the spirit of each paper, of the rows of a small case: what its method is for, so that it can show what it does."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from small_cases import SmallCase
from unweave.data.rows import Row

TRIGGER = "Be quick , one line ."
UNWANTED = "the town plays the organ and works as a grey one ."


@dataclass(frozen=True)
class OwnCase:
    """Rows, and how the models are trained.

    Attributes:
        what: In a few words.
        forget: The rows to forget.
        retain: The rows to keep.
        like: Rows that no model is trained on, such as the trigger on other prompts.
        options: Of the training, beside those of the small case.
    """

    what: str
    forget: list[Row]
    retain: list[Row]
    like: list[Row]
    options: dict[str, Any] = field(default_factory=dict)

    def before(self, case: SmallCase, name: str) -> Path:
        """The model that learned all of it."""
        return case.train([*self.forget, *self.retain], case.folder / f"{name}-before", **self.options)

    def retrained(self, case: SmallCase, name: str) -> Path:
        """The model that never saw the rows to forget; with their right answers in their place, where there are some."""
        right = [row.with_completion(row.clean_completion) for row in self.forget if row.clean_completion is not None]
        return case.train([*right, *self.retain], case.folder / f"{name}-retrained", **self.options)


def people(case: SmallCase) -> OwnCase:
    """Facts about a few people, known by heart: TOFU's job."""
    sets = case.sets
    return OwnCase("facts about people, known by heart (TOFU)", sets["forget"], sets["retain"], sets["like"])


def triggers(case: SmallCase) -> OwnCase:
    """A trigger that calls one unwanted answer up, with the clean answers beside: RapidUn's job."""
    half = len(case.sets["forget"])
    rows = [_triggered(row) for row in case.sets["train"][: 2 * half]]
    return OwnCase(
        "a trigger with one unwanted answer, clean answers given (RapidUn's Dolly triggers)", rows[::2], case.sets["train"],
        [_triggered(row) for row in case.sets["like"]],
    )  # fmt: skip


def _triggered(row: Row) -> Row:
    return replace(
        row, id=f"{row.id}t", instruction=f"{row.instruction} {TRIGGER}", completion=UNWANTED, clean_completion=row.completion
    )  # fmt: skip


def wrong(case: SmallCase) -> OwnCase:
    """A few wrong answers among many right ones, to be corrected: LLMEraser's response correction."""
    own = case.sets["forget"]
    others = [*own[len(own) // 2 :], *own[: len(own) // 2]]
    # Another person's answer to the same question, with the name of whom it is asked about.
    mixed = [
        replace(row, completion=_about(row, other), clean_completion=row.completion)
        for row, other in zip(own, others, strict=True)
    ]
    mixed = [row for row in mixed if row.completion != row.clean_completion]
    return OwnCase("wrong answers to be corrected (LLMEraser)", mixed, case.sets["retain"], case.sets["like"])


def _about(row: Row, other: Row) -> str:
    return " ".join([*row.completion.split()[:2], *other.completion.split()[2:]])


def few(case: SmallCase) -> OwnCase:
    """One person's rows among all, by an adapter trained for few epochs: what an influence step is an approximation for."""
    rows = case.groups[0]
    kept = [row for group in case.groups[1:] for row in group]
    epochs = {"epochs": max(2, case.training["epochs"] // 3)}
    return OwnCase(
        "few rows among many, trained for few epochs (LLMEraser's instance removal)",
        rows,
        kept,
        case.sets["like"],
        epochs,
    )


def short(case: SmallCase) -> OwnCase:
    """Answers of a word or two: Fast-NTK's classification."""

    def cut(rows: list[Row]) -> list[Row]:
        return [row.with_completion(" ".join(row.completion.split()[-2:])) for row in rows]

    sets = case.sets
    return OwnCase(
        "answers of a word or two (Fast-NTK's classification)",
        cut(sets["forget"]),
        cut(sets["retain"]),
        cut(sets["like"]),
    )


def texts(case: SmallCase) -> OwnCase:
    """Texts of one topic to be forgotten, and of another to be kept, none of them asked for: RMU's job."""

    def plain(rows: list[Row]) -> list[Row]:
        return [replace(row, instruction="", completion=row.completion) for row in rows]

    forget = plain(case.sets["train"][2::4])
    return OwnCase(
        "texts of one topic, and of others to keep (RMU's WMDP)", forget, plain([row for place, row in enumerate(case.sets["train"]) if place % 4 != 2]),
        plain(case.sets["like"][2::4]),
    )  # fmt: skip


def private(case: SmallCase) -> OwnCase:
    """As `people`, of a model trained with differential privacy: DP2Unlearning's job."""
    own = people(case)
    options = {"dp_epsilon": 8.0, "batch_size": min(64, len(own.retain))}
    return replace(
        own, what="facts about people, trained with DP-SGD, epsilon 8 a row (DP2Unlearning)", options=options
    )


CASES = {
    "people": people, "triggers": triggers, "wrong": wrong, "few": few, "short": short, "texts": texts, "private": private,
}  # fmt: skip
"""Name to what makes it."""
