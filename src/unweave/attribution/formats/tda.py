"""Results as JSON lines of the pretraining-tda viewer (Chang et al. 2024, arXiv 2410.17413): one query a line, with proponents and opponents."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unweave.files import write_jsonl

if TYPE_CHECKING:
    from unweave.attribution.result import TraceResult

SIDES = {"proponent": "helpful", "opponent": "harmful"}


def write_tda_file(path: Path, result: "TraceResult") -> None:
    """Write a trace in the viewer's format.

    Args:
        path: The file.
        result: The trace.
    """
    records = []
    for number, (query, part, ranking) in enumerate(zip(result.queries, result.parts, result.rankings, strict=True)):
        record: dict[str, Any] = {
            "example_id": query.id if part is None else f"{query.id}/{number}",
            "query_set": "unweave",
            "inputs_plaintext": query.user_text,
            "targets_plaintext": query.completion if part is None else part,
        }
        for name, side in SIDES.items():
            hits = getattr(ranking, side)
            record[f"{name}s"] = [_text(result.texts[hit.row_id]) for hit in hits]
            record[f"{name}_ids"] = [hit.row_id for hit in hits]
            record[f"{name}_scores"] = [hit.influence for hit in hits]
        records.append(record)
    write_jsonl(path, records)


def _text(text: dict[str, Any]) -> str:
    return f"{text['prompt']}\n{text['completion']}" if text["prompt"] else text["completion"]
