"""Evaluating a model on rows alone: was it forgotten, and at what cost, with no detector and no tests made for the case."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

from unweave.data.encoding import EncodingConfig
from unweave.data.reading import load_rows
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.evaluation.config import Margins
from unweave.evaluation.evaluation import Evaluation
from unweave.evaluation.forced import Forced, LogitsFile
from unweave.evaluation.inference import PRIVLEAK_ATTACK
from unweave.evaluation.measures.likelihood import exact_memorisation, extraction_strength
from unweave.evaluation.measures.membership import Membership, privleak
from unweave.evaluation.measures.text import rouge_l_recall
from unweave.evaluation.score import Score, score
from unweave.evaluation.verdict import (
    DAMAGED,
    LEFT,
    NEAR,
    NOT_FORGOTTEN,
    SUPPRESSED,
    Verdict,
    against_retrained,
    joined_mean,
    leak_reason,
    no_finding,
    reason_of,
    too_small,
)
from unweave.models.generation import greedy_answers
from unweave.models.model import Model
from unweave.stats.comparisons import Comparison, as_family, compare_paired
from unweave.stats.intervals import Estimate, mean

FEWEST = 2
"""Rows that a paired comparison needs."""

Finding = tuple[str, str]
"""A conclusion, or none, and its reason."""


def evaluate(
    model: Model,
    *,
    forget: Any,
    like: Any = None,
    retain: Any = None,
    before: Model | None = None,
    reference: Model | None = None,
    margins: Margins = Margins(),  # noqa: B008  # it is frozen
    encoding: EncodingConfig | None = None,
    max_new_tokens: int = 24,
    token_budget: int = 4096,
    seed: int = 0,
) -> Evaluation:
    """Evaluate whether a model has forgotten rows, and what it has lost besides.

    With a reference model, one that never saw the rows, each figure is compared with its own, row by row, against a margin (minimum-effect tests with Holm's
    correction). Without one the rows count as forgotten when their answers no longer come and their loss is near that of like rows that were never trained
    on, or at least above what it was before. Without like rows there is no membership inference, and without rows to keep nothing is said of damage.

    Args:
        model: The model under test.
        forget: The rows that it should have forgotten: anything that `uw.load_rows` takes, as all rows here.
        like: Rows like them that no model was trained on.
        retain: Rows that it should still know.
        before: The model before.
        reference: A model that never saw the rows, such as one retrained without them.
        margins: The smallest differences that matter.
        encoding: Template and lengths.
        max_new_tokens: Longest generated answer; 0 generates none.
        token_budget: Tokens a batch, padding included.
        seed: Of the bootstrap.

    Returns:
        The evaluation.

    Raises:
        DataError: When a set has no rows, or one of them no room.

    Example:
        >>> import unweave as uw
        >>> report = uw.evaluate(model, forget=forget, like=like, retain=retain)
        >>> report.verdict.conclusion, report.left_out[0]
        ('forgotten; damage was not measured', 'what changed: no model before')
        >>> report.figures["after"]["forget"]["loss"].count
        2
    """
    encoding = encoding or EncodingConfig()
    given = {"forget": forget, "like": like, "retain": retain}
    sets = {name: load_rows(rows).rows for name, rows in given.items() if rows is not None}
    models = {"reference": reference, "before": before, "after": model}
    scores: dict[str, Score] = {}
    answers: dict[str, dict[str, dict[str, str]]] = {}
    with ExitStack() as stack:
        logits = None
        if reference is not None:
            # The reference's logits of all labelled tokens: on the disk, which holds more than the memory does.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="unweave-"))
            logits = LogitsFile(Path(folder) / "logits.bin", {})
        for label, one in models.items():
            if one is None:
                continue
            scores[label] = score(
                one,
                sets,
                encoding,
                compared=tuple(sets) if logits else (),
                logits_file=logits,
                under_base=("forget", "like") if "like" in sets else (),
                token_budget=token_budget,
                label=label,
            )
            _require_all(sets, scores[label])
            if max_new_tokens:
                answers[label] = {
                    name: _answers(one, sets[name], encoding, max_new_tokens)
                    for name in ("forget", "retain")
                    if name in sets
                }
    texts = {name: {row.id: row.completion for row in rows} for name, rows in sets.items()}
    membership = {
        label: own.memberships(texts, members="forget", others="like")
        for label, own in scores.items()
        if "like" in sets
    }
    figures = {
        label: {
            name: _figures(forced, answers.get(label, {}).get(name), texts[name], compared=label != "reference", seed=seed)
            for name, forced in own.forced.items()
        }
        for label, own in scores.items()
    }  # fmt: skip
    losses = {
        label: {name: dict(zip(own.row_ids, own.mean_losses(), strict=True)) for name, own in one.forced.items()}
        for label, one in scores.items()
    }
    verdict = judge_rows(scores, membership, margins, seed=seed)
    order = [label for label in ("after", "before", "reference") if label in scores]
    return Evaluation(
        verdict=verdict,
        figures={label: figures[label] for label in order},
        membership={label: membership[label] for label in order if label in membership},
        losses={label: losses[label] for label in order},
        answers={label: answers[label] for label in order if label in answers},
        margins=margins,
        left_out=_left_out(sets, before=before is not None, reference=reference is not None),
    )


def _require_all(sets: Mapping[str, Sequence[Row]], scored: Score) -> None:
    """Models are compared row by row: each must have all of them."""
    for name, rows in sets.items():
        if missing := len(rows) - len(scored.forced[name].row_ids):
            raise DataError(
                f"{missing} row(s) of `{name}` have no room within the longest sequence.",
                where=name,
                remedy="give an encoding with a larger max_length",
            )


def _answers(model: Model, rows: Sequence[Row], encoding: EncodingConfig, max_new_tokens: int) -> dict[str, str]:
    texts = greedy_answers(model, rows, encoding, max_new_tokens=max_new_tokens)
    return {row.id: text for row, text in zip(rows, texts, strict=True)}


def _figures(
    forced: Forced, answers: Mapping[str, str] | None, texts: Mapping[str, str], *, compared: bool, seed: int
) -> dict[str, Estimate]:
    """The figures of a set of rows, with their intervals."""

    def share_of_tokens(values: Sequence[float]) -> Estimate:
        return mean(values, seed=seed).within(0, 1)

    found = {
        "loss": mean(forced.mean_losses(), seed=seed).within(0, math.inf),
        "probability": share_of_tokens(forced.probabilities()),
        "exact_memorization": share_of_tokens([exact_memorisation(hits) for hits in forced.hits]),
        "extraction_strength": share_of_tokens([extraction_strength(hits) for hits in forced.hits]),
        "verbatim": mean([float(hit) for hit in forced.verbatim()], seed=seed),
        "begins": mean([float(hit) for hit in forced.begins()], seed=seed),
    }
    if answers:
        found["rouge_l"] = share_of_tokens([rouge_l_recall(texts[row_id], own) for row_id, own in answers.items()])
    if compared and forced.divergence:
        found["kl_from_reference"] = mean(forced.row_divergence(), seed=seed).within(0, math.inf)
    return found


def _left_out(sets: Mapping[str, Sequence[Row]], *, before: bool, reference: bool) -> list[str]:
    missing = {
        "membership inference: no like rows that were never trained on": "like" not in sets,
        "damage: no rows to keep": "retain" not in sets,
        "what changed: no model before": not before,
        "over-forgetting: no reference model that never saw the rows": not reference,
    }
    return [what for what, is_missing in missing.items() if is_missing]


def judge_rows(
    scores: Mapping[str, Score], membership: Mapping[str, Mapping[str, Membership]], margins: Margins, *, seed: int = 0
) -> Verdict:
    """Judge a model by rows.

    Args:
        scores: Of `after`, and where they are there of `before` and `reference`.
        membership: The attacks on each, where there are like rows.
        margins: The smallest differences that matter.
        seed: Of the bootstrap.

    Returns:
        The verdict.
    """
    after, before, reference = (scores.get(label) for label in ("after", "before", "reference"))
    assert after is not None, "a model is under test"
    kept = as_family(_comparisons(before, after, ("retain",), margins)) if before else []
    distance = leak = None
    warnings = []
    if reference is not None:
        comparisons = as_family(_comparisons(reference, after, ("forget", "like", "retain"), margins))
        findings = against_retrained(comparisons)
        distance = joined_mean([own.row_divergence() for own in after.forced.values()], seed=seed).within(0, math.inf)
        if "after" in membership:
            own, other = (membership[label][PRIVLEAK_ATTACK] for label in ("after", "reference"))
            leak = privleak(own.area, other.area)
            if not own.agrees_with(other):
                findings.append(("", leak_reason(leak, own, other)))
    else:
        comparisons = as_family(_comparisons(before, after, ("forget", "like", "retain"), margins)) if before else []
        findings = [*_forgotten(after, before, comparisons), *_damaged(comparisons)]
        warnings.append("without a reference model, forgotten and over-forgotten can't be told apart")
    warnings += [too_small(one) for one in comparisons if one.conclusion == "unclear"]
    names = list(dict.fromkeys(name for name, _ in findings if name))
    return Verdict(
        model="after",
        conclusion=" and ".join(names) if names else _no_finding(comparisons, reference is not None, "retain" in after.forced),
        reasons=[reason for _, reason in findings],
        warnings=warnings,
        comparisons=comparisons,
        kept=kept,
        distance=distance,
        privleak=leak,
    )  # fmt: skip


def _comparisons(first: Score, second: Score, names: Sequence[str], margins: Margins) -> list[Comparison]:
    """Row by row, of each set that is large enough."""
    losses = {
        "forget": ("loss of rows to forget", margins.margin_forget),
        "like": ("loss of rows like them", margins.margin_forget),
        "retain": ("loss of rows to keep", margins.margin_clean),
    }
    found = []
    for name in names:
        if name not in second.forced or len(second.forced[name].row_ids) < FEWEST:
            continue
        one, two = first.forced[name], second.forced[name]
        if name == "forget":
            begins = ([float(hit) for hit in side.begins()] for side in (one, two))
            title = "answers that begin as the rows to forget"
            found.append(compare_paired(title, *begins, margin=margins.margin_share))
        title, margin = losses[name]
        found.append(compare_paired(title, one.mean_losses(), two.mean_losses(), margin=margin))
    return found


def _forgotten(after: Score, before: Score | None, comparisons: Sequence[Comparison]) -> list[Finding]:
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
            if one.name == "loss of rows to forget" and not (one.conclusion == "different" and one.difference > 0)
        ]
    return findings


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
