"""A trace as a page: one file, no script, no remote request; all text is escaped."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unweave.attribution.scale import said
from unweave.files import write_text
from unweave.report.pages import environment
from unweave.store.format import StoreSpec

if TYPE_CHECKING:
    from unweave.attribution.details import TokenDetail
    from unweave.attribution.result import Standing, TraceResult

MATRIX_TOKENS = 24
SIDES = {
    "helpful": "Helpful: a step on the row lowers the loss of this answer",
    "harmful": "Harmful: a step on the row raises it",
}
SPEC = "model", "adapter", "parameters", "sketch", "dimension", "normalize", "reduction", "number_format"


def write_trace_page(path: Path, result: "TraceResult", spec: StoreSpec) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        result: The trace.
        spec: How the store was made: what the numbers mean.
    """
    write_text(path, render_trace_page(result, spec))


def render_trace_page(result: "TraceResult", spec: StoreSpec) -> str:
    """The page.

    Args:
        result: The trace.
        spec: How the store was made: what the numbers mean.

    Returns:
        HTML.
    """
    queries = []
    for index, (query, part, ranking) in enumerate(zip(result.queries, result.parts, result.rankings, strict=True)):
        details, scale = result.details[index] if result.details else {}, result.scales[index]
        sides = [
            (
                title,
                [
                    _row(hit, result.texts[hit.row_id], details.get(hit.row_id), result.standing(index, hit))
                    for hit in getattr(ranking, side)
                ],
            )
            for side, title in SIDES.items()
        ]
        queries.append(
            {
                "prompt": query.user_text,
                "answer": query.completion,
                "against": result.against[index],
                "part": part,
                "said": said(scale.stands_out()),
                "over": f"a sample of {len(scale.scores):,} rows" if scale.is_sample else "all rows",
                "sides": sides,
            }
        )
    described = spec.to_json()
    return (
        environment()
        .get_template("trace.html")
        .render(
            queries=queries,
            rows=len(result.row_ids),
            seconds=result.seconds,
            exact=bool(result.details),
            spec=[(name, described[name]) for name in SPEC],
            sign=described["sign"],
        )
    )


def _row(hit: Any, text: dict[str, Any], detail: "TokenDetail | None", standing: "Standing") -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": hit.row_id,
        "influence": hit.influence,
        "level": f"{standing.level:.1%}",
        "deviations": "" if standing.deviations is None else f"{standing.deviations:+.1f}",
        "place": f"{text['source']}:{text['line']}",
        "prompt": text["prompt"],
        "completion": text["completion"],
        "marked": standing.overlap.cut(text["completion"]),
        "words": standing.overlap.in_words,
        "both": standing.has_both,
    }
    if detail is not None:
        row["answer"] = _tinted(detail.row_tokens, detail.row_loss_tokens, detail.row_answer)
        row["positions"] = _tinted(detail.row_tokens, detail.row_positions, 0)
        row["matrix"] = _matrix(detail)
    return row


def _tinted(tokens: Sequence[str], shares: Sequence[float], first: int) -> list[tuple[str, str, str]]:
    """Tokens with a colour and a title that gives the share."""
    strongest = max((abs(share) for share in shares[first:]), default=0.0) or 1.0
    return [
        (token, _tint(share / strongest), f"{share:+.3g}")
        for token, share in zip(tokens[first:], shares[first:], strict=True)
    ]


def _tint(share: float) -> str:
    tone = "31 111 139" if share >= 0 else "179 64 42"
    return f"rgb({tone} / {0.75 * min(1.0, abs(share)):.2f})"


def _matrix(detail: "TokenDetail") -> dict[str, Any]:
    """The positions that matter, query by row: those of the largest shares, in their order."""
    rows = _strongest(detail.query_positions)
    columns = _strongest(detail.row_positions)
    values = [[detail.matrix[row][column] for column in columns] for row in rows]
    strongest = max((abs(value) for line in values for value in line), default=0.0) or 1.0
    return {
        "columns": [detail.row_tokens[column] for column in columns],
        "rows": [
            (detail.query_tokens[row], [(_tint(value / strongest), f"{value:+.3g}") for value in line])
            for row, line in zip(rows, values, strict=True)
        ],
        "cut": len(rows) < len(detail.query_positions) or len(columns) < len(detail.row_positions),
    }


def _strongest(shares: Sequence[float]) -> list[int]:
    return sorted(sorted(range(len(shares)), key=lambda place: -abs(shares[place]))[:MATRIX_TOKENS])
