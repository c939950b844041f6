"""Influence by owner, source or any other field of the rows: sums over all rows, not only the best."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
    field: str, row_ids: list[str], scores: Float[Tensor, "q n"], texts: Mapping[str, Mapping[str, Any]], *, where: str
) -> list[list[GroupSum]]:
    """Sum the influence of all rows by a field of theirs.

    Args:
        field: A column of the rows' data, or `source` for their file.
        row_ids: All rows.
        scores: Their influence on each query.
        texts: Row id to what the store keeps of it.
        where: The store, for errors.

    Returns:
        For each query a group for each value, the largest sum first.

    Raises:
        DataError: When no row has the field.
    """
    columns = [_columns(texts.get(row_id, {})) for row_id in row_ids]
    names = {SOURCE}.union(*columns)
    if field not in names:
        listed = sorted(names)
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        raise DataError(
            f"No row has the field '{field}'.",
            where=where,
            remedy=f"group by one of the rows' own: {', '.join(listed[:SHOWN])}{more}",
        )
    places: dict[str, list[int]] = defaultdict(list)
    for place, own in enumerate(columns):
        places[_in_words(own.get(field))].append(place)
    return [_sums(places, own) for own in scores.double().tolist()]


def _columns(text: Mapping[str, Any]) -> dict[str, Any]:
    """What a row can be grouped by; a column of the data comes before the file of the same name."""
    return {SOURCE: text.get(SOURCE), **json.loads(text.get("meta") or "{}")}


def _in_words(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _sums(places: Mapping[str, Sequence[int]], scores: Sequence[float]) -> list[GroupSum]:
    groups = {group: [scores[place] for place in own] for group, own in places.items()}
    gains = {group: sum(score for score in own if score > 0) for group, own in groups.items()}
    gain = sum(gains.values())
    found = [
        GroupSum(group, len(own), sum(own), sum(own) / len(own), gains[group] / gain if gain else float("nan"))
        for group, own in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.total, one.group))
