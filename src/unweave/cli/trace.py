"""`unweave trace`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from unweave.cli.common import parse, print_json, print_table
from unweave.trace.config import TraceConfig


def main(argv: Sequence[str]) -> int:
    """Trace an answer to training rows.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    config, common = parse(
        TraceConfig, argv, command="trace", description="Find the training rows that an answer comes from."
    )
    from unweave.trace.stage import trace_answers

    result = trace_answers(config)
    if common.json:
        print_json([_query_json(result, index) for index in range(len(result.queries))])
        return 0
    for query, ranking in zip(result.queries, result.rankings, strict=True):
        print(f"prompt: {query.user_text}\nanswer: {query.completion}\n")
        for side in ("helpful", "harmful"):
            rows = [_cells(hit, result.texts) for hit in getattr(ranking, side)]
            print_table(
                f"{side} rows (of {len(result.row_ids)})", ["row", "influence", "where", "prompt", "completion"], rows
            )
    print(f"positive influence: a step on the row lowers the loss of this answer; {result.seconds} s")
    return 0


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
