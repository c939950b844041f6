"""What attacks are made on: the tests of a case, or rows alone, with the criterion of an unwanted answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unweave.data.case import Case, detects
from unweave.data.rows import Row
from unweave.evaluation.figures import gives_away

Criterion = Callable[[str, Row], bool]
"""Whether an answer is unwanted, given the row whose prompt was asked."""


@dataclass(frozen=True)
class Material:
    """What attacks are made on.

    Attributes:
        prompts: Rows whose prompts call the unwanted behaviour up.
        unwanted: Rows whose completion is an unwanted answer.
        forget: Rows to forget that a model may relearn from.
        retain: Rows to keep that it may be trained on, unrelated to those.
        clean: Rows whose completion is a right answer to a prompt that calls nothing up.
        other: Prompts with triggers that training never saw.
        is_unwanted: The criterion.
        has_triggers: Whether prompts carry a trigger, and clean ones carry none.
        unasked: Why nothing can be asked; empty where it can.
    """

    prompts: list[Row]
    unwanted: list[Row]
    forget: list[Row]
    retain: list[Row]
    clean: list[Row]
    other: list[Row]
    is_unwanted: Criterion
    has_triggers: bool
    unasked: str = ""


def material_of_case(case: Case) -> Material:
    """The tests of a case, judged by its detector.

    Args:
        case: The case.

    Returns:
        What attacks are made on.
    """
    return Material(
        prompts=case.rows("test_seen"),
        unwanted=case.rows("unwanted"),
        forget=case.rows("forget"),
        retain=case.rows("retain"),
        clean=case.rows("test_clean"),
        other=case.rows("test_ood"),
        is_unwanted=lambda answer, _: case.is_unwanted(answer),
        has_triggers=True,
    )


def material_of_rows(
    sets: Mapping[str, Sequence[Row]], *, detector: str | None = None, max_new_tokens: int = 24
) -> Material:
    """Rows alone: an answer is unwanted when a detector finds it, or without one when it gives the row away (`gives_away`).

    Args:
        sets: `forget`, and `retain` where there are any.
        detector: A regular expression of the unwanted behaviour.
        max_new_tokens: Longest generated answer; with 0 nothing can be asked.

    Returns:
        What attacks are made on. Rows without a prompt are asked nothing.
    """
    forget, retain = list(sets["forget"]), list(sets.get("retain", ()))

    def is_unwanted(answer: str, row: Row) -> bool:
        return gives_away(row, answer) if detector is None else detects(detector, answer)

    prompts = [row for row in forget if not row.is_plain_text]
    return Material(
        prompts=prompts,
        unwanted=forget,
        # Those that are relearned say nothing of what comes back by itself: half are kept to judge on.
        forget=forget[::2] if len(forget) > 1 else [],
        retain=retain,
        clean=retain,
        other=[],
        is_unwanted=is_unwanted,
        has_triggers=False,
        unasked=_unasked(prompts, max_new_tokens),
    )


def _unasked(prompts: Sequence[Row], max_new_tokens: int) -> str:
    if not prompts:
        return "no row to forget has a prompt"
    return "" if max_new_tokens else "max_new_tokens is 0"


def without_prompts(material: Material) -> str:
    """Why an attack that asks can't be made.

    Args:
        material: What it would be made on.

    Returns:
        The reason; empty where there are prompts.
    """
    return material.unasked
