"""The table of docs/auditing.md on deletion requests with nothing but their rows."""

from collections.abc import Callable
from typing import Any

from result_files import load

CASES = {"tofu": "an author of TOFU", "knowundo": "a person of KnowUnDo", "dolly": "poisoned rows of Dolly"}


def requests() -> str:
    """What each request tried, what it ended as, and the retrained model beside it."""
    found = [load(f"requests_{case}") for case in CASES]
    titles = [
        f"{title} ({one['before']['forget']['rows']} rows)" for title, one in zip(CASES.values(), found, strict=True)
    ]
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---|" * len(found)]
    for name, cell in ROWS.items():
        lines.append(f"| {name} | " + " | ".join(map(cell, found)) + " |")
    (cpu,) = {one["environment"]["cpu"] for one in found}
    return "\n".join(
        [
            *lines,
            "",
            f"(One run each; losses in nats a token, of the base as the request measured it; {cpu}, another job beside the first.)",
        ]
    )


def _tried(found: dict[str, Any]) -> str:
    said = []
    for one in found["request"]["attempts"]["tried"]:
        rate = one["options"].get("learning_rate")
        unmet = f"not met: {', '.join(one['unmet'])}" if one["unmet"] else "met"
        said.append(f"`{one['method']}`{f' at {rate:.0e}' if rate else ''}: loss {one['figures']['loss']:.2f}, {unmet}")
    return "; ".join(said)


def _ended(found: dict[str, Any]) -> str:
    return f"{found['request']['state']} ({found['request']['class']})"


def _losses(found: dict[str, Any]) -> str:
    before, after, retrained = (found[side]["forget"]["loss"] for side in ("before", "after", "retrained"))
    return f"{before:.2f} to {after:.2f} (base {found['request']['criteria']['named']['target']:.2f}, retrained {retrained:.2f})"


def _begins(found: dict[str, Any]) -> str:
    before, after, retrained = (found[side]["forget"]["begins"] for side in ("before", "after", "retrained"))
    return f"{before} to {after} (retrained {retrained})"


def _others(found: dict[str, Any]) -> str:
    return f"{found['after']['others']['loss'] - found['before']['others']['loss']:+.3f}"


def _minutes(found: dict[str, Any]) -> str:
    return f"{found['request_seconds'] / 60:.1f} ({found['retraining_seconds'] / 60:.1f})"


def _verified(found: dict[str, Any]) -> str:
    if "verified" not in found:
        return "not run"
    return f"{sum(one['code'] == 0 for one in found['verified'])} of {len(found['verified'])}"


ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "tried": _tried,
    "ends as": _ended,
    "loss of the rows": _losses,
    "answers that begin as the row does": _begins,
    "change of all other rows' loss": _others,
    "minutes (training again alone)": _minutes,
    "verified on 1, 2, 4 threads, batches of one row, from another folder": _verified,
}

TABLES: dict[str, Callable[[], str]] = {"requests": requests}
