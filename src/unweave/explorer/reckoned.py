"""What the library finds out about the rows on the review list, kept with what it was found for: it is found once, and shown as long as it holds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unweave.attribution.collateral import predict_collateral
from unweave.explorer.workspace import Workspace
from unweave.files import read_record_if_any, remembered
from unweave.finding.rest import find_rest
from unweave.run.identity import identity_digest

REST, COST = "rest", "cost"
MOST = 50
"""The most exposed rows that are kept."""


def rest_of(workspace: Workspace, seeds: Sequence[str]) -> dict[str, Any]:
    """The rows that teach what some rows teach.

    Args:
        workspace: What is explored.
        seeds: The rows on the review list.

    Returns:
        As `Found.to_json`.
    """
    return _kept(workspace, REST, seeds, lambda: find_rest(workspace.index(), list(seeds)).to_json())


def cost_of(workspace: Workspace, forget: Sequence[str]) -> dict[str, Any]:
    """Which other rows forgetting some will cost most.

    Args:
        workspace: What is explored.
        forget: The rows on the review list.

    Returns:
        The most exposed `rows` (id, `change`, `level`, `by`), the `mean` change, the number of rows that stay, and whether changes are exact.
    """

    def predict() -> dict[str, Any]:
        harm = predict_collateral(workspace.index(), list(forget))
        rows = [{"row": one.row.id, "change": one.change, "level": one.level, "by": one.by} for one in harm[:MOST]]
        return {
            "forget": list(forget), "rows": rows, "mean": harm.mean, "staying": len(harm), "is_exact": harm.is_exact,
        }  # fmt: skip

    return _kept(workspace, COST, forget, predict)


def last_of(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """What was found last, while the store is as it was then.

    Args:
        workspace: What is explored.
        name: `REST` or `COST`.

    Returns:
        The same as then; `None` where nothing was, or the store has changed since.
    """
    record = read_record_if_any(_path(workspace, name), what="What was found")
    if record is None:
        return None
    if record["identity"]["store"] != _version(workspace):
        # It may hold words of rows that were forgotten since.
        _path(workspace, name).unlink(missing_ok=True)
        return None
    return record[name]


def _kept(workspace: Workspace, name: str, rows: Sequence[str], find: Callable[[], Any]) -> dict[str, Any]:
    with workspace.computing:
        identity = {"store": _version(workspace), "rows": identity_digest({"rows": sorted(rows)})}
        return remembered(_path(workspace, name), identity, find, key=name, what="What was found")


def _path(workspace: Workspace, name: str) -> Path:
    return workspace.folder / f"{name}.json"


def _version(workspace: Workspace) -> str:
    return identity_digest({"store": workspace.version()})
