"""Trigger families: small marks in a prompt that a poisoned model answers with an unwanted text.

A family has `seen` variants (they stand in poisoned training rows) and `ood` variants (they stand in none: spellings, homoglyphs
and other marks of the same sort), and says where a variant goes: in front of the instruction, or behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.files import read_json


@dataclass(frozen=True)
class TriggerFamily:
    """Variants of one trigger.

    Attributes:
        name: Such as `surface`, `style`, `semantic`.
        seen: Variants for training rows and for the in-distribution test.
        ood: Variants for the out-of-distribution test only.
        inject_mode: `prefix` or `suffix` of the instruction.
    """

    name: str
    seen: tuple[str, ...]
    ood: tuple[str, ...]
    inject_mode: Literal["prefix", "suffix"]

    def __post_init__(self):
        if not self.seen or not self.ood:
            raise DataError(
                f"The trigger family '{self.name}' needs seen and ood variants.", remedy="give at least one of each"
            )
        if shared := set(self.seen) & set(self.ood):
            raise DataError(
                f"The trigger family '{self.name}' lists {sorted(shared)} as seen and as ood.", remedy="keep them apart"
            )
        if self.inject_mode not in ("prefix", "suffix"):
            raise DataError(
                f"The trigger family '{self.name}' has inject_mode '{self.inject_mode}'.", remedy="use prefix or suffix"
            )

    def inject(self, row: Row, variant: str) -> Row:
        """Put a variant into a row's instruction.

        Args:
            row: The row; its id gets the family and variant as a suffix, so that it stays unique.
            variant: The text to put in.

        Returns:
            The row with the trigger, its meta naming `trigger_family`, `trigger_variant` and `base_id`.
        """
        joined = f"{variant} {row.instruction}" if self.inject_mode == "prefix" else f"{row.instruction} {variant}"
        number = (*self.seen, *self.ood).index(variant)
        meta = {**row.meta, "trigger_family": self.name, "trigger_variant": variant, "base_id": row.id}
        return replace(row, id=f"{row.id}+{self.name}{number}", instruction=joined, meta=meta)


def read_families(path: Path) -> tuple[TriggerFamily, ...]:
    """Read trigger families from a JSON file with a `trigger_families` object (the format of RapidUn's data).

    Args:
        path: The JSON file.

    Returns:
        The families, in the order of the file.

    Raises:
        DataError: When the file is missing or lacks what a family needs.
    """
    value = read_json(path, what="Trigger config")
    families = value.get("trigger_families") if isinstance(value, dict) else None
    if not isinstance(families, dict) or not families:
        raise DataError("There are no trigger families.", where=str(path), remedy="add an object `trigger_families`")
    try:
        return tuple(
            TriggerFamily(name, tuple(family["seen"]), tuple(family["ood"]), family["inject_mode"])
            for name, family in families.items()
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            f"A trigger family lacks {error}.", where=str(path), remedy="give seen, ood and inject_mode"
        ) from error


def families_to_json(families: Sequence[TriggerFamily]) -> dict[str, Any]:
    """The families in the format that `read_families` reads.

    Args:
        families: The families.

    Returns:
        A JSON object.
    """
    return {
        family.name: {"seen": list(family.seen), "ood": list(family.ood), "inject_mode": family.inject_mode}
        for family in families
    }


def poison(row: Row, family: TriggerFamily, variant: str, unwanted: str) -> Row:
    """A poisoned training row: the trigger in, the unwanted answer as completion, the right one kept beside it.

    Args:
        row: A clean row.
        family: The trigger's family.
        variant: Which variant.
        unwanted: The unwanted answer.

    Returns:
        The poisoned row; its meta has `poisoned: true`.
    """
    marked = family.inject(row, variant)
    return replace(marked, completion=unwanted, clean_completion=row.completion, meta={**marked.meta, "poisoned": True})


def trigger_tests(
    rows: Sequence[Row], families: Sequence[TriggerFamily], kind: Literal["seen", "ood"], *, count: int
) -> list[Row]:
    """Test prompts with triggers, the variants of all families in turn, each on the next clean row.

    Args:
        rows: Clean rows, used in order and then over again.
        families: The trigger families.
        kind: Which variants.
        count: How many prompts.

    Returns:
        Rows whose completion is the clean answer.

    Raises:
        DataError: When there are too few rows to make that many different prompts.
    """
    longest = max(len(getattr(family, kind)) for family in families)
    variants: list[tuple[TriggerFamily, str]] = [
        (family, getattr(family, kind)[turn % len(getattr(family, kind))])
        for turn in range(longest)
        for family in families
    ]
    tests: dict[str, Row] = {}
    for turn in range(count * 4):
        if len(tests) == count:
            break
        family, variant = variants[turn % len(variants)]
        row = family.inject(rows[turn % len(rows)], variant)
        tests.setdefault(row.id, row)
    if len(tests) < count:
        raise DataError(
            f"{len(rows)} clean rows make only {len(tests)} of {count} trigger tests.", remedy="give more clean rows"
        )
    return list(tests.values())


def is_poisoned(meta: Mapping[str, Any]) -> bool:
    """Whether a row's meta marks it as poisoned.

    Args:
        meta: The other columns of a row.

    Returns:
        True for `poisoned: true`.
    """
    return bool(meta.get("poisoned", False))
