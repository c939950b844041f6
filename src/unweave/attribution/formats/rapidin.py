"""RapidIn's result files: read into rankings, and written from them.

One JSON object: `config`, and an entry for each query under its index, with `helpful` (row indices, most positive first), `helpful_infl`,
`harmful` (most negative first), `harmful_infl` and `test_data`. A file of one entry a line is read too.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.attribution.retrieval import Ranking
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.files import parse_json, read_text, write_json

KINDS = ("helpful", "harmful")


@dataclass(frozen=True)
class InfluenceEntry:
    """One query's lists, by row index.

    Attributes:
        helpful: Pairs of index and influence, as listed.
        harmful: The same for the other side.
    """

    helpful: list[tuple[int, float]]
    harmful: list[tuple[int, float]]


def read_influence_file(path: Path) -> list[InfluenceEntry]:
    """Read a result file, in either layout.

    Args:
        path: The file.

    Returns:
        One entry a query, in the order of the file.

    Raises:
        DataError: When the file is missing or empty, is not JSON, or an entry's lists do not belong together.
    """
    text = read_text(path, what="The influence file").strip()
    try:
        value = parse_json(text, what="The influence file", where=str(path))
        found = (
            [(f"{path} entry {key}", entry) for key, entry in value.items() if key != "config"]
            if isinstance(value, dict)
            else []
        )
        if isinstance(value, dict) and any(kind in value for kind in KINDS):
            found = [(f"{path}:1", value)]
    except DataError:
        # Not one JSON value: then one a line, or the first line that is none is named.
        found = list(_lines(path, text))
    entries = [
        InfluenceEntry(*(_pairs(entry, kind, where) for kind in KINDS))
        for where, entry in found
        if isinstance(entry, Mapping) and any(kind in entry for kind in KINDS)
    ]
    if not entries:
        raise DataError(
            "The influence file has no entry with 'helpful' or 'harmful'.",
            where=str(path),
            remedy="give a RapidIn result file",
        )
    return entries


def write_influence_file(
    path: Path,
    rankings: Sequence[Ranking],
    queries: Sequence[Row],
    row_ids: Sequence[str],
    *,
    config: Mapping[str, Any],
) -> None:
    """Write rankings as a RapidIn result file, indices being positions in `row_ids`; ids stand beside them.

    Args:
        path: The file.
        rankings: One a query.
        queries: The queries.
        row_ids: The rows, in the order that the indices count.
        config: What made the scores.
    """
    index = {row_id: position for position, row_id in enumerate(row_ids)}
    value: dict[str, Any] = {"config": json.dumps(dict(config), default=str)}
    for number, (ranking, query) in enumerate(zip(rankings, queries, strict=True)):
        entry: dict[str, Any] = {
            "test_data": {
                "instruction": query.instruction,
                "input": query.context,
                "output": query.completion,
                "id": query.id,
            }
        }
        for kind in KINDS:
            hits = getattr(ranking, kind)
            entry[kind] = [index[hit.row_id] for hit in hits]
            entry[f"{kind}_infl"] = [hit.influence for hit in hits]
            entry[f"{kind}_ids"] = [hit.row_id for hit in hits]
        value[str(number)] = entry
    write_json(path, value)


def _lines(path: Path, text: str) -> Any:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, parse_json(line, what="The influence file", where=where)


def _pairs(entry: Mapping[str, Any], kind: str, where: str) -> list[tuple[int, float]]:
    indices, values = entry.get(kind) or [], entry.get(f"{kind}_infl") or []
    if not (isinstance(indices, list) and isinstance(values, list)):
        raise DataError(f"'{kind}' or '{kind}_infl' is not a list.", where=where, remedy="write the file anew")
    if len(indices) != len(values):
        raise DataError(
            f"'{kind}' has {len(indices)} rows and {len(values)} influences.", where=where, remedy="write the file anew"
        )
    try:
        pairs = [(int(index), float(value)) for index, value in zip(indices, values, strict=True)]
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"'{kind}' holds something else than numbers: {error}.", where=where, remedy="write the file anew"
        ) from error
    for (index, value), given in zip(pairs, indices, strict=True):
        if isinstance(given, bool) or index < 0 or (isinstance(given, float) and given != index):
            raise DataError(
                f"'{kind}' holds {given!r}, which is not the index of a row.", where=where, remedy="write the file anew"
            )
        if not math.isfinite(value):
            raise DataError(
                f"The influence of row {index} in '{kind}_infl' is not finite.",
                where=where,
                remedy="compute it anew, with `dtype` float32",
            )
    return pairs
