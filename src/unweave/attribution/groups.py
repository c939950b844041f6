"""Influence by owner, source or any other field of the rows: sums over all rows, not only the best."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from unweave.errors import DataError

SOURCE = "source"
"""Stands for the file that a row came from."""

SHOWN = 8


@dataclass(frozen=True)
class GroupSum:
    """The influence of a group of rows on an answer.

    Attributes:
        group: The field's value; "" for rows without it.
        rows: How many there are.
        total: The sum of their influence.
        mean: The same a row.
        share: Their positive influence, over that of all rows; it does not count what lowers the answer's probability. NaN where no row has any.
    """

    group: str
    rows: int
    total: float
    mean: float
    share: float


def sums_by(
    field: str, row_ids: list[str], scores: Float[Tensor, " n"], texts: Mapping[str, Mapping[str, Any]], *, where: str
) -> list[GroupSum]:
    """Sum the influence of all rows by a field of theirs.

    Args:
        field: A column of the rows' data, or `source` for their file.
        row_ids: All rows.
        scores: Their influence on one answer.
        texts: Row id to what the store keeps of it.
        where: The store, for errors.

    Returns:
        A group for each value, the largest sum first.

    Raises:
        DataError: When no row has the field.
    """
    metas = {row_id: json.loads(texts.get(row_id, {}).get("meta") or "{}") for row_id in row_ids}
    names = {SOURCE}.union(*metas.values()) if metas else {SOURCE}
    if field not in names:
        listed = sorted(names)
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        raise DataError(
            f"No row has the field '{field}'.",
            where=where,
            remedy=f"group by one of the rows' own: {', '.join(listed[:SHOWN])}{more}",
        )
    groups: dict[str, list[float]] = defaultdict(list)
    for row_id, score in zip(row_ids, scores.double().tolist(), strict=True):
        value = metas[row_id][field] if field in metas[row_id] else texts.get(row_id, {}).get(field) if field == SOURCE else None  # fmt: skip
        groups["" if value is None else value if isinstance(value, str) else json.dumps(value)].append(score)
    positive = sum(score for own in groups.values() for score in own if score > 0)
    found = [
        GroupSum(
            group,
            len(own),
            sum(own),
            sum(own) / len(own),
            sum(score for score in own if score > 0) / positive if positive else float("nan"),
        )
        for group, own in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.total, one.group))
