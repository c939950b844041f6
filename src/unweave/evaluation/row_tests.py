"""What every model of an evaluation is asked: the sets of rows, and what had to be left out of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unweave.arguments import quoted
from unweave.data.reading import load_rows
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.evaluation.probes.base import Beside, Probe
from unweave.evaluation.probes.making import Probes, make_probes
from unweave.evaluation.probes.paraphrase import paraphrase
from unweave.evaluation.probes.registry import DEFAULTS

GIVEN = "forget", "like", "retain"

PARAPHRASES = "paraphrases"
"""The set of rows that are made where no like ones are given."""

MADE = " (made)"
"""Ends the ids of made rows."""


@dataclass(frozen=True)
class RowTests:
    """The rows that models are measured on, the same for each.

    Attributes:
        sets: `forget`, and where there are any `like` and `retain`; without `like` rows `paraphrases` of those to forget.
        notes: What was left out or made, and why, a sentence each.
        probes: Probes of the rows to forget.
        baseline: The same of like rows, for how often a row that was never trained on is given away.
    """

    sets: dict[str, list[Row]]
    notes: list[str] = field(default_factory=list)
    probes: Probes = field(default_factory=Probes)
    baseline: Probes = field(default_factory=Probes)


def row_tests(
    given: Mapping[str, Any],
    *,
    probes: Sequence[str] = DEFAULTS,
    probe_rows: int = 16,
    paraphrases: Callable[[Sequence[Row]], Mapping[str, str]] | None = None,
    has_reference: bool = False,
    seed: int = 0,
) -> RowTests:
    """Make the tests of an evaluation from rows.

    Args:
        given: `forget`, `like` and `retain`: anything that `load_rows` takes, or `None`.
        probes: Families of probes.
        probe_rows: The most rows that a family probes.
        paraphrases: Writes the questions of rows in other words, by row id; empty texts are of no use, and templates take their place.
        has_reference: Whether there is a model that never saw the rows: then like rows are not probed.
        seed: Of what is random.

    Returns:
        The tests. Rows that stand in `forget` too are in no other set.

    Raises:
        ConfigError: When there is no family of a name.
        DataError: When no row of a set is left.
    """
    sets = {name: load_rows(given[name]).rows for name in GIVEN if given.get(name) is not None}
    forgotten = {_content(row) for row in sets["forget"]}
    notes = []
    for name in GIVEN[1:]:
        if name not in sets:
            continue
        kept = [row for row in sets[name] if _content(row) not in forgotten]
        if not kept:
            raise DataError(
                f"Every row of `{name}` is one of those to forget.",
                where=quoted(name),
                remedy="give other rows, or leave it out",
            )
        if gone := len(sets[name]) - len(kept):
            notes.append(f"{gone} row(s) of `{name}`: they are among those to forget")
        sets[name] = kept
    forget, like = sets["forget"], sets.get("like", [])
    written = paraphrases(forget) if paraphrases else {}
    if failed := sum(not text for text in written.values()):
        notes.append(
            f"{failed} of {len(written)} paraphrases by the probe model: nothing new, or the answer; templates took their place"
        )
    beside = Beside(
        forget, [*like, *sets.get("retain", [])], {row_id: text for row_id, text in written.items() if text}, seed
    )
    if not like and (made := _paraphrased(forget, seed)):
        sets[PARAPHRASES] = made
    made_probes = make_probes(forget, beside, probes, count=probe_rows)
    baseline = Probes()
    if like and not has_reference:
        other = Beside(like, [*forget, *sets.get("retain", [])], {}, seed)
        baseline = make_probes(like, other, probes, count=probe_rows)
    return RowTests(sets, [*notes, *_notes(made_probes, len(forget))], made_probes, baseline)


def _paraphrased(rows: Sequence[Row], seed: int) -> list[Row]:
    """Rows that no model was trained on: the same answers after the questions in other words, by templates."""
    beside = Beside(rows, seed=seed)
    made = [(row, paraphrase(row, beside)) for row in rows if row.instruction]
    return [replace(one.asked, id=f"{row.id}{MADE}") for row, one in made if isinstance(one, Probe)]


def _notes(probes: Probes, rows: int) -> list[str]:
    """Which probes there are none of, and of which rows."""
    notes = []
    if not probes.families or not probes.rows:
        return ["probes: none were asked for"]
    if len(probes.rows) < rows:
        notes.append(
            f"probes of {rows - len(probes.rows)} row(s): each family probes {len(probes.rows)} of the {rows} to forget"
        )
    for name, own in probes.families.items():
        if not own:
            why = "; ".join(f"{reason}: {count} row(s)" for reason, count in probes.unmade[name].items())
            notes.append(f"{name.replace('_', ' ')} probes: none could be made ({why})")
    return notes


def _content(row: Row) -> str:
    return json.dumps(row.content, ensure_ascii=False, default=str)
