"""RapidIn's result files: read into rankings, and written from them.

One JSON object: `config`, and an entry for each query under its index, with `helpful` (row indices, most positive first), `helpful_infl`,
`harmful` (most negative first), `harmful_infl` and `test_data`. A file of one entry a line is read too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.files import write_json
from unweave.trace.retrieval import Ranking

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
    if not path.is_file():
        raise DataError("Influence file not found.", where=str(path), remedy="check the path")
    text = path.read_text(encoding="utf-8").strip()
    try:
        value = json.loads(text)
        found = (
            [(f"{path} entry {key}", entry) for key, entry in value.items() if key != "config"]
            if isinstance(value, dict)
            else []
        )
        if isinstance(value, dict) and any(kind in value for kind in KINDS):
            found = [(f"{path}:1", value)]
    except json.JSONDecodeError:
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
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"Broken JSON: {error.msg}.", where=f"{path}:{number}", remedy="write the file anew"
                ) from error


def _pairs(entry: Mapping[str, Any], kind: str, where: str) -> list[tuple[int, float]]:
    indices, values = entry.get(kind) or [], entry.get(f"{kind}_infl") or []
    if len(indices) != len(values):
        raise DataError(
            f"'{kind}' has {len(indices)} rows and {len(values)} influences.", where=where, remedy="write the file anew"
        )
    try:
        return [(int(index), float(value)) for index, value in zip(indices, values, strict=True)]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"'{kind}' holds something else than numbers: {error}.", where=where, remedy="write the file anew"
        ) from error
