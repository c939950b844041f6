"""The probes of a certificate: those of an audit from rows, on few rows, so that a request takes no longer for them. No text is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.probes.asking import ask
from unweave.evaluation.probes.base import Beside
from unweave.evaluation.probes.making import make_probes
from unweave.evaluation.probes.outcome import outcome_of
from unweave.evaluation.probes.registry import DEFAULTS
from unweave.evaluation.verdict import LEFT
from unweave.models.loading import Loaded

ROWS, TOKENS = 4, 24
"""Rows that a family probes, and tokens of an answer: some thirty answers a model, seconds beside the minutes of an unlearning."""


def probed(loaded: Loaded, sets: Mapping[str, Sequence[Row]], encoding: EncodingConfig) -> dict[str, Any]:
    """Probe the rows of a request.

    Args:
        loaded: The model.
        sets: `forget`, and `test` for other rows.
        encoding: Template and lengths.

    Returns:
        How many rows were tried, and each family's `asked`, `leaked` (row ids) and `unmade` (reason to rows).
    """
    probes = make_probes(sets["forget"], Beside(sets["forget"], sets.get("test", ())), DEFAULTS, count=ROWS)
    outcome = outcome_of(probes, ask(loaded, probes, encoding, max_new_tokens=TOKENS, label="certificate"))
    families = {
        name: {
            "asked": len(own),
            "leaked": [row_id for row_id, flag in outcome.of_family(name).items() if flag],
            "unmade": probes.unmade[name],
            "generated": name not in outcome.chosen,
        }
        for name, own in probes.families.items()
    }
    return {"rows": len(probes.rows), "families": families}


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
