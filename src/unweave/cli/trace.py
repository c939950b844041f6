"""`unweave trace`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from unweave.cli.common import execute, print_table
from unweave.trace.config import TraceConfig


def main(argv: Sequence[str]) -> int:
    """Trace an answer to training rows.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    return execute(
        TraceConfig,
        argv,
        command="trace",
        description="Find the training rows that an answer comes from.",
        work="unweave.trace.stage:trace_answers",
        show=lambda _, result: _show(result),
        as_json=lambda result: [_query_json(result, index) for index in range(len(result.queries))],
    )


def _show(result: Any) -> None:
    for query, ranking in zip(result.queries, result.rankings, strict=True):
        print(f"prompt: {query.user_text}\nanswer: {query.completion}\n")
        for side in ("helpful", "harmful"):
            rows = [_cells(hit, result.texts) for hit in getattr(ranking, side)]
            header = ["row", "influence", "where", "prompt", "completion"]
            print_table(f"{side} rows (of {len(result.row_ids)})", header, rows, text_columns=header[2:])
    print(f"positive influence: a step on the row lowers the loss of this answer; {result.seconds} s")


def _cells(hit: Any, texts: dict[str, dict[str, Any]]) -> list[str]:
    text = texts.get(hit.row_id, {})
    place = f"{text.get('source', '')}:{text.get('line', '')}".rpartition("/")[2]
    return [
        hit.row_id,
        f"{hit.influence:.4g}",
        place,
        _short(text.get("prompt", "")),
        _short(text.get("completion", "")),
    ]


def _short(text: str, *, width: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _query_json(result: Any, index: int) -> dict[str, Any]:
    ranking, query = result.rankings[index], result.queries[index]
    sides = {
        side: [
            {
                **asdict(hit),
                **{
                    key: result.texts.get(hit.row_id, {}).get(key) for key in ("source", "line", "prompt", "completion")
                },
            }
            for hit in getattr(ranking, side)
        ]
        for side in ("helpful", "harmful")
    }
    return {"prompt": query.user_text, "completion": query.completion, "rows": len(result.row_ids), **sides}
