"""The verdict on a model by rows alone: against one that never saw them, or against like rows and the model before."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from unweave.evaluation.attacks.table import attack_gaps, attack_leaks, attack_named
from unweave.evaluation.config import Margins
from unweave.evaluation.measures.membership import Membership
from unweave.evaluation.probes.outcome import Outcome, probe_comparisons, probe_findings
from unweave.evaluation.row_tests import MADE, PARAPHRASES
from unweave.evaluation.score import Score
from unweave.evaluation.sentences import reason_of, too_small
from unweave.evaluation.verdict import (
    DAMAGED,
    INCONCLUSIVE,
    LEFT,
    NEAR,
    NOT_FORGOTTEN,
    SUPPRESSED,
    Verdict,
    against_retrained,
    concluded,
    joined_mean,
    leaked,
    no_finding,
    unclear,
)
from unweave.stats.comparisons import Comparison, as_family, compare_paired

LOSS = "loss of rows to forget"
DECIDES = "like rows that were never trained on, or a reference model that never saw the rows"

FEWEST = 2
"""Rows that a paired comparison needs."""

SETS = "forget", "like", PARAPHRASES, "retain"
"""The sets on which models are compared, in the order of the comparisons."""

Finding = tuple[str, str]
"""A conclusion, or none, and its reason."""


def judge_rows(
    scores: Mapping[str, Score],
    membership: Mapping[str, Mapping[str, Membership]],
    margins: Margins,
    *,
    label: str = "after",
    probes: Mapping[str, Outcome] | None = None,
    baseline: Outcome | None = None,
    attacks: Mapping[str, dict[str, Any]] | None = None,
    seed: int = 0,
) -> Verdict:
    """Judge a model by rows.

    Args:
        scores: Of the model under test, and where they are there of `before` and `reference`.
        membership: The attacks on each, where there are like rows.
        margins: The smallest differences that matter.
        label: Which model is under test.
        probes: What came of the probes of each model.
        baseline: What came of those of like rows under the model under test.
        attacks: What attacks on each model found.
        seed: Of the bootstrap.

    Returns:
        The verdict.
    """
    after, before, reference = scores[label], scores.get("before"), scores.get("reference")
    outcomes = probes or {}
    kept = as_family(_comparisons(before, after, ("retain",), margins)) if before else []
    distance = leak = None
    warnings = []
    if reference is not None:
        asked = _probed(outcomes, "reference", label, margins)
        comparisons = as_family([*_comparisons(reference, after, SETS, margins), *asked])
        findings = against_retrained(comparisons)
        if any(own.divergence for own in after.forced.values()):
            divergence = [own.row_divergence() for own in after.forced.values()]
            distance = joined_mean(divergence, seed=seed).within(0, math.inf)
        if label in membership:
            leak, leaking = leaked(membership[label], membership["reference"])
            findings += leaking
        findings += _attacked(attacks or {}, label, known=any(name == NOT_FORGOTTEN for name, _ in findings))
    else:
        asked = _probed(outcomes, "before", label, margins)
        comparisons = as_family([*_comparisons(before, after, SETS, margins), *asked]) if before else []
        findings = _forgotten(after, before, comparisons, margins)
        findings += probe_findings(outcomes[label], baseline) if label in outcomes else []
        findings += _undecided(after, before, comparisons, known=any(name for name, _ in findings))
        if any(name == NOT_FORGOTTEN for name, _ in findings):
            # What still comes out is not held back.
            findings = [(NOT_FORGOTTEN, reason) for _, reason in findings]
        findings += _damaged(comparisons)
        warnings.append("without a reference model, forgotten and over-forgotten can't be distinguished")
        warnings += [
            f"{leak}: without a reference model it is not known how much of that can be guessed"
            for leak in attack_leaks(attacks or {}, model=label, most=LEFT)
        ]
    return Verdict(
        model=label,
        conclusion=concluded(findings) or _no_finding(comparisons, reference is not None, "retain" in after.forced),
        reasons=[reason for _, reason in findings],
        warnings=[*warnings, *unclear(comparisons)],
        comparisons=comparisons,
        kept=kept,
        distance=distance,
        privleak=leak,
    )  # fmt: skip


def _attacked(attacks: Mapping[str, dict[str, Any]], label: str, *, known: bool) -> list[Finding]:
    """Where an attack gets more out of the model than out of the reference: what comes out by asking alone is not held back."""
    return [
        (NOT_FORGOTTEN if known or attack_named(row.attack).only_asks else SUPPRESSED, words)
        for row, words in attack_gaps(attacks, model=label, reference="reference")
    ]


def _probed(outcomes: Mapping[str, Outcome], first: str, second: str, margins: Margins) -> list[Comparison]:
    if first not in outcomes or second not in outcomes:
        return []
    return probe_comparisons(outcomes[first], outcomes[second], margins)


def _comparisons(first: Score, second: Score, names: Sequence[str], margins: Margins) -> list[Comparison]:
    """Row by row, of each set that is large enough."""
    losses = {
        "forget": (LOSS, margins.margin_forget),
        "like": ("loss of rows like them", margins.margin_forget),
        PARAPHRASES: ("loss of the rows in other words", margins.margin_forget),
        "retain": ("loss of rows to keep", margins.margin_clean),
    }
    found = []
    for name in names:
        if name not in second.forced or len(second.forced[name].row_ids) < FEWEST:
            continue
        one, two = first.forced[name], second.forced[name]
        if one.row_ids != two.row_ids:
            # Of made rows one tokenizer may have room for other ones.
            continue
        if name == "forget":
            begins = ([float(hit) for hit in side.begins()] for side in (one, two))
            title = "answers that begin as the rows to forget"
            found.append(compare_paired(title, *begins, margin=margins.margin_share))
        title, margin = losses[name]
        found.append(compare_paired(title, one.mean_losses(), two.mean_losses(), margin=margin))
    return found


def _forgotten(
    after: Score, before: Score | None, comparisons: Sequence[Comparison], margins: Margins
) -> list[Finding]:
    """What speaks against the rows being forgotten, where no model that never saw them is there to compare with."""
    own = after.forced["forget"]
    count, left = len(own.row_ids), sum(own.begins())
    allowed = int(LEFT * count)
    if "like" in after.forced:
        # Some answers begin as they should under any model.
        like = after.forced["like"].begins()
        allowed = max(allowed, math.ceil(count * sum(like) / len(like)))
    findings = []
    if left > allowed:
        findings.append((NOT_FORGOTTEN, f"of {count} answers {left} begin as the row's, {allowed} may"))
    loss = fmean(own.mean_losses())
    if "like" in after.forced:
        # What training taught of their kind is in the loss of like rows under the model before.
        target = fmean((before or after).forced["like"].mean_losses())
        if loss < NEAR * target:
            reason = f"the rows' loss is {loss:.2f} nats a token, that of like rows never trained on {target:.2f}"
            findings.append((NOT_FORGOTTEN if findings else SUPPRESSED, reason))
    else:
        findings += [
            (NOT_FORGOTTEN, reason_of(one, "the model before"))
            for one in comparisons
            if one.name == LOSS and _has_not_risen(one)
        ]
        findings += _favoured(after, margins, known=bool(findings))
    return findings


def _has_not_risen(one: Comparison) -> bool:
    """Whether it is shown that a loss did not rise by what matters; of few rows neither that nor the opposite may be."""
    return one.conclusion == "equivalent" or (one.conclusion == "different" and one.difference <= 0)


def _undecided(after: Score, before: Score | None, comparisons: Sequence[Comparison], *, known: bool) -> list[Finding]:
    """What can't be said of the loss of the rows to forget, for want of rows or of anything to compare it with, and what would decide it."""
    if "like" in after.forced:
        return []
    one = next((one for one in comparisons if one.name == LOSS), None)
    if one is not None and one.conclusion != "unclear":
        return []
    count = len(after.forced["forget"].row_ids)
    if one is not None:
        more = f"about {one.rows_needed} rows, " if one.rows_needed > one.count else ""
        rows, said = f"{count} rows", f"{too_small(one)}; {more}{DECIDES} would decide it"
    elif before is not None:
        change = fmean(after.forced["forget"].mean_losses()) - fmean(before.forced["forget"].mean_losses())
        rows = "1 row"
        said = f"{LOSS}: of a single row a change of {change:+.2f} nats a token could be chance; more rows, {DECIDES} would decide it"
    else:
        rows = "nothing to compare it with"
        said = f"{LOSS}: there is nothing to compare it with; the model before, {DECIDES} would decide it"
    return [("" if known else f"{INCONCLUSIVE} ({rows})", said)]


def _favoured(after: Score, margins: Margins, *, known: bool) -> list[Finding]:
    """Whether the rows' own wording is still far likelier than paraphrases of it: a bound of the level that their loss should reach."""
    if PARAPHRASES not in after.forced or len(after.forced[PARAPHRASES].row_ids) < FEWEST:
        return []
    made = dict(zip(after.forced[PARAPHRASES].row_ids, after.forced[PARAPHRASES].mean_losses(), strict=True))
    own = dict(zip(after.forced["forget"].row_ids, after.forced["forget"].mean_losses(), strict=True))
    pairs = [(made[f"{row_id}{MADE}"], loss) for row_id, loss in own.items() if f"{row_id}{MADE}" in made]
    one = compare_paired(
        "loss of the rows' own wording", *map(list, zip(*pairs, strict=True)), margin=margins.margin_forget
    )
    if not (one.conclusion == "different" and one.difference < 0):
        return []
    return [(NOT_FORGOTTEN if known else SUPPRESSED, reason_of(one, "their paraphrases"))]


def _damaged(comparisons: Sequence[Comparison]) -> list[Finding]:
    return [
        (DAMAGED, reason_of(one, "the model before"))
        for one in comparisons
        if one.name == "loss of rows to keep" and one.conclusion == "different" and one.difference > 0
    ]


def _no_finding(comparisons: Sequence[Comparison], has_reference: bool, has_retain: bool) -> str:
    if has_reference:
        return no_finding(comparisons, has_reference=True)
    found = any(one.name == "loss of rows to keep" for one in comparisons)
    return "forgotten, and no damage was found" if has_retain and found else "forgotten; damage was not measured"
