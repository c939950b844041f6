"""The probes of a certificate: those of an audit from rows, on few rows, so that a request takes no longer for them. No text is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.evaluation.probes.asking import ask
from unweave.evaluation.probes.base import Beside
from unweave.evaluation.probes.making import make_probes
from unweave.evaluation.probes.outcome import outcome_of
from unweave.evaluation.probes.registry import DEFAULTS
from unweave.evaluation.verdict import LEFT
from unweave.models.loading import Loaded

CRITERION, CRITERION_ROWS = "asked", 16
"""Where measurements have the probes of a criterion, and the rows that each family of it probes."""

ROWS, TOKENS = 4, 24
"""Rows that a family probes, and tokens of an answer: some thirty answers a model, seconds beside the minutes of an unlearning."""


def probed(
    loaded: Loaded,
    sets: Mapping[str, Sequence[Row]],
    encoding: EncodingConfig,
    *,
    families: Sequence[str] = DEFAULTS,
    rows: int = ROWS,
) -> dict[str, Any]:
    """Probe the rows of a request.

    Args:
        loaded: The model.
        sets: `forget`, and `test` for other rows.
        encoding: Template and lengths.
        families: Families of probes.
        rows: Rows that a family probes.

    Returns:
        How many rows were tried, and each family's `asked`, `leaked` (row ids) and `unmade` (reason to rows).
    """
    probes = make_probes(sets["forget"], Beside(sets["forget"], sets.get("test", ())), families, count=rows)
    outcome = outcome_of(probes, ask(loaded, probes, encoding, max_new_tokens=TOKENS, label="certificate"))
    found = {
        name: {
            "asked": len(own),
            "leaked": [row_id for row_id, flag in outcome.of_family(name).items() if flag],
            "unmade": probes.unmade[name],
            "generated": name not in outcome.chosen,
        }
        for name, own in probes.families.items()
    }
    return {"rows": len(probes.rows), "families": found}


def require_generated(families: Sequence[str]) -> None:
    """Refuse families that are no criterion: what is chosen among options may be guessed.

    Args:
        families: The families of a criterion.

    Raises:
        ConfigError: Naming one.
    """
    if "multiple_choice" in families:
        raise ConfigError(
            "A right choice among options may be a guess: it is no criterion.",
            where="`probes`",
            remedy="leave multiple_choice out",
        )


def of_criterion(
    loaded: Loaded, sets: Mapping[str, Sequence[Row]], encoding: EncodingConfig, families: Sequence[str]
) -> dict[str, Any]:
    """What the probes of a criterion find, as a part of measurements.

    Args:
        loaded: The model.
        sets: `forget`, and `test` for other rows.
        encoding: Template and lengths.
        families: The families of the criterion.

    Returns:
        Under `CRITERION` as `probed`; nothing where no family is one.
    """
    if not families:
        return {}
    return {CRITERION: probed(loaded, sets, encoding, families=families, rows=CRITERION_ROWS)}


def asked_and_leaked(measured: Mapping[str, Any]) -> tuple[int, int]:
    """How many questions of a criterion were asked, and how many answers gave a row away.

    Args:
        measured: Measurements of a model.

    Returns:
        The two numbers.
    """
    return _generated(measured[CRITERION])


def probe_finding(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """What the probes of the two models say against the rows being forgotten.

    Args:
        before: Measurements of the model before.
        after: Of the new one.

    Returns:
        A sentence, where more than one generated answer in twenty gives a row away; of certificates of before there were probes none.
    """
    if "probes" not in after or "probes" not in before:
        return None
    (_, was), (asked, leaked) = (_generated(side["probes"]) for side in (before, after))
    if leaked <= int(LEFT * asked):
        return None
    return (
        f"of {asked} other questions (paraphrases, other spellings and languages, aliases, first words, reversed, two hops) {leaked} are still answered so "
        f"that a row is given away, {was} before: what can be guessed without the rows was not measured"
    )


def _generated(probes: Mapping[str, Any]) -> tuple[int, int]:
    own = [one for one in probes["families"].values() if one["generated"]]
    return sum(one["asked"] for one in own), sum(len(one["leaked"]) for one in own)
