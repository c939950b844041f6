"""Whether the measurements of a request show that its rows were forgotten, and what they do not support.

Forgetting is *shown* when the rows' loss rose by more than the margin and beyond what chance, or the change of all other rows, would do; when no answer is
still the model's first choice at every token; and, where rows like them were never trained on, when no attack separates the two any more. A retraining
without the rows and without copies of them needs no such evidence. What meets the criteria that were named, and is not shown, is *done, not shown*.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unweave.ledger.probing import probe_finding

MOST_NAMED = 20


@dataclass
class Verdict:
    """What the measurements say.

    Attributes:
        doubts: Why forgetting is not shown; empty when it is.
        findings: What else the measurements do not support.
    """

    doubts: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def judge(
    before: Mapping[str, Any], after: Mapping[str, Any], compared: Mapping[str, Any], *, copies: Sequence[Mapping[str, Any]], margin: float
) -> Verdict:  # fmt: skip
    """Read the measurements of a request.

    Args:
        before: Measurements of the model before.
        after: Of the new one.
        compared: From `changes`.
        copies: Copies of the rows that stayed in the training data.
        margin: The smallest change that matters, in nats a token.

    Returns:
        The doubts and findings, in words.
    """
    verdict = Verdict()
    risen = changes_of("forget", before, after)
    was, now = (
        sum(side["sets"]["forget"]["losses"].values()) / side["sets"]["forget"]["rows"] for side in (before, after)
    )
    if now - was <= margin:
        verdict.doubts.append(
            f"the loss of the rows to be forgotten went from {was:.3f} to {now:.3f} nats a token: this run does not show that they were forgotten"
        )
    elif not beyond_chance(risen, changes_of("test", before, after), compared.get("forget")):
        verdict.doubts.append(
            f"the rise of the loss of the rows to be forgotten, {now - was:.3f} nats a token, could be chance, or what all rows went through: "
            "there are too few of them, or other rows changed as much"
        )
    if verbatim := after["sets"]["forget"].get("verbatim"):
        verdict.doubts.append(f"{named(verbatim)}: the model's first choice is still the answer's, at every token")
    for name, own in after.get("membership", {}).items():
        if own["interval"][0] > 0.5:
            verdict.doubts.append(
                f"an attack still separates the rows from like rows never trained on ({name}: AUC {own['auc']:.2f} "
                f"[{own['interval'][0]:.2f}, {own['interval'][1]:.2f}])"
            )
    if "test" in compared and compared["test"]["conclusion"] != "equivalent":
        own = compared["test"]
        verdict.findings.append(
            f"other rows' loss changed by {own['difference']:+.3f} [{own['low']:+.3f}, {own['high']:+.3f}] nats a token: "
            f"{own['count']} rows do not show that it stayed within {margin:g}"
        )
    if words := probe_finding(before, after):
        verdict.findings.append(words)
    for one in before.get("lost", ()):
        left = "only what fits was unlearned and measured" if one["action"] == "cut" else "it was not measured"
        if one["set"] == "retain":
            left = "only what fits was kept" if one["action"] == "cut" else "it was not kept"
        verdict.findings.append(
            f"row '{one['row']}' of the set '{one['set']}' ({one['place']}) was {one['action']}: {one['reason']}; {left}"
        )
    for one in copies:
        kind = "a copy" if one["exact"] else f"a near-duplicate (similarity {one['similarity']:.2f})"
        verdict.findings.append(
            f"row '{one['row_id']}' ({one['place']}) is {kind} of '{one['of']}' and stayed in the training data: what it teaches was not taken out"
        )
    return verdict


def beyond_chance(risen: Sequence[float], others: Sequence[float], compared: Mapping[str, Any] | None) -> bool:
    """Whether the rows' loss rose beyond chance.

    Args:
        risen: Change of the loss of each row to be forgotten.
        others: The same of rows that no request names.
        compared: The paired comparison of the rows to be forgotten; `None` for a single row.

    Returns:
        Whether the paired interval lies above the margin, or, for few rows, whether their mean is above the 95 % prediction interval that the changes
        of the other rows give for the mean of as many rows like them.
    """
    from scipy.stats import t

    if compared is not None and compared["conclusion"] == "different" and compared["difference"] > 0:
        return True
    if len(others) < 2:
        return False
    spread = statistics.stdev(others) * (1 / len(risen) + 1 / len(others)) ** 0.5
    reach = float(t.ppf(0.975, len(others) - 1)) * spread
    return statistics.fmean(risen) - statistics.fmean(others) > reach


def changes_of(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[float]:
    """How much each row's loss changed.

    Args:
        name: The set.
        before: Measurements of the model before.
        after: Of the new one.

    Returns:
        The differences in nats a token, positive where it rose.
    """
    was, now = (side["sets"].get(name, {}).get("losses", {}) for side in (before, after))
    return [now[row_id] - was[row_id] for row_id in was if row_id in now]


def named(row_ids: Sequence[str]) -> str:
    """Rows in words.

    Args:
        row_ids: Their ids.

    Returns:
        The first of them, and how many more there are.
    """
    more = f" and {len(row_ids) - MOST_NAMED} more" if len(row_ids) > MOST_NAMED else ""
    return f"row(s) {', '.join(repr(row_id) for row_id in row_ids[:MOST_NAMED])}{more}"
