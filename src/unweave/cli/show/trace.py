"""A trace on the terminal, and as JSON."""

import sys
from dataclasses import asdict
from typing import Any

from unweave import terminal
from unweave.attribution.result import Standing
from unweave.attribution.scale import said
from unweave.jobs.config import TraceConfig
from unweave.visible import one_line, visible

CARRIERS = 3


def show(config: TraceConfig, result: Any) -> None:
    """Print the rows that each answer comes from.

    Args:
        config: The trace's.
        result: A `TraceResult`.
    """
    shown = None
    for index, (query, part, ranking) in enumerate(zip(result.queries, result.parts, result.rankings, strict=True)):
        if query is not shown:
            terminal.labelled("prompt", query.user_text)
            terminal.labelled("answer", query.completion)
            if result.against[index] is not None:
                terminal.labelled("against", result.against[index])
            terminal.line()
            shown = query
        if part is not None:
            terminal.line(f"traced: {part!r}")
        details, scale = result.details[index] if result.details else {}, result.scales[index]
        if config.scorer == "influence":
            terminal.line(said(scale.stands_out()))
        for side in ("helpful", "harmful"):
            hits = getattr(ranking, side)
            rows = [_cells(hit, result.texts, details.get(hit.row_id), result.standing(index, hit)) for hit in hits]
            header = [
                "row",
                "influence",
                "level",
                "deviations",
                "where",
                "prompt",
                "completion",
                "shared words",
                *(["carried by"] if details else []),
            ]
            terminal.print_table(f"{side} rows (of {len(result.row_ids)})", header, rows, text_columns=header[4:])
        if result.groups:
            rows = [
                [one.group or "(none)", f"{one.rows:,}", f"{one.total:.4g}", f"{one.mean:.4g}", f"{one.share:.1%}"]
                for one in result.groups[index]
            ]
            header = [config.group_by or "", "rows", "influence", "mean", "of all positive"]
            terminal.print_table(f"by {config.group_by}", header, rows, text_columns=header[:1])
        if details and sys.stdout.isatty() and ranking.helpful:
            _highlight(details[ranking.helpful[0].row_id], ranking.helpful[0].row_id)
    if config.scorer == "influence":
        effect = "the loss of this answer" if config.against is None else "this answer's loss against the other's"
        terminal.line(f"positive influence: a step on the row lowers {effect}; {result.seconds} s")
    else:
        terminal.line(f"scores by {config.scorer}; {result.seconds} s")
    sample = next((len(scale.scores) for scale in result.scales if scale.is_sample), None)
    over = "all rows" if sample is None else f"a sample of {sample} rows"
    terminal.line(f"level: share of rows below; deviations: (influence - median) / (1.4826 MAD); both over {over}")
    terminal.line(
        "shared words: longest run in answer and completion, share of the answer's 5-grams; both: those, and 3 deviations or more"
    )
    for path in (config.output, config.tda, config.html):
        if path:
            terminal.line(f"written: {path}")


def _cells(hit: Any, texts: dict[str, dict[str, Any]], detail: Any, standing: Standing) -> list[str]:
    text = texts.get(hit.row_id, {})
    place = f"{text.get('source', '')}:{text.get('line', '')}".rpartition("/")[2]
    cells = [
        hit.row_id,
        f"{hit.influence:.4g}",
        f"{standing.level:.1%}",
        "" if standing.deviations is None else f"{standing.deviations:+.1f}",
        place,
        _short(text.get("prompt", "")),
        _short(text.get("completion", "")),
        _shared(standing),
    ]
    return [*cells, _carriers(detail, hit.influence)] if detail else cells


def _shared(standing: Standing) -> str:
    """The longest run of words that answer and completion share, and the share of the answer's n-grams."""
    overlap = standing.overlap
    if not overlap.words:
        return ""
    said = f"{overlap.words} word{'s' if overlap.words > 1 else ''}"
    said += "" if overlap.share is None else f", {overlap.share:.0%}"
    return f"{said} (both)" if standing.has_both else said


def _carriers(detail: Any, influence: float) -> str:
    """The answer tokens of the row whose own losses carry most of its influence, with their shares."""
    sign = 1 if influence >= 0 else -1
    order = sorted(range(len(detail.row_tokens)), key=lambda place: -sign * detail.row_loss_tokens[place])[:CARRIERS]
    total = abs(influence) or 1.0
    return ", ".join(
        f"{detail.row_tokens[place]!r} {detail.row_loss_tokens[place] * sign / total:.0%}" for place in order
    )


def _highlight(detail: Any, row_id: str) -> None:
    """The best row's answer, each token on a ground as strong as its share."""
    from rich.text import Text

    text = Text(f"{one_line(row_id)}: ", style="bold")
    strongest = max(map(abs, detail.row_loss_tokens)) or 1.0
    for place in range(detail.row_answer, len(detail.row_tokens)):
        share = detail.row_loss_tokens[place] / strongest
        tone = int(255 - 150 * abs(share))
        ground = f"rgb({tone},{tone},255)" if share >= 0 else f"rgb(255,{tone},{tone})"
        text.append(visible(detail.row_tokens[place]), style=f"black on {ground}" if abs(share) > 0.05 else "")
    terminal.console().print(text)
    terminal.line()


def _short(text: str, *, width: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def as_json(_: TraceConfig, result: Any) -> list[dict[str, Any]]:
    """A trace as JSON.

    Args:
        result: A `TraceResult`.

    Returns:
        An object for each query.
    """
    return [_query_json(result, index) for index in range(len(result.queries))]


def _query_json(result: Any, index: int) -> dict[str, Any]:
    ranking, query = result.rankings[index], result.queries[index]
    details, scale = result.details[index] if result.details else {}, result.scales[index]
    sides = {
        side: [
            {
                **asdict(hit),
                **asdict(standing := result.standing(index, hit)),
                "both": standing.has_both,
                **{
                    key: result.texts.get(hit.row_id, {}).get(key) for key in ("source", "line", "prompt", "completion")
                },
                **({"tokens": asdict(details[hit.row_id])} if hit.row_id in details else {}),
            }
            for hit in getattr(ranking, side)
        ]
        for side in ("helpful", "harmful")
    }
    part = {} if result.parts[index] is None else {"part": result.parts[index]}
    against = {} if result.against[index] is None else {"against": result.against[index]}
    head = {"prompt": query.user_text, "completion": query.completion, **against, **part, "rows": len(result.row_ids)}
    groups = {"groups": [asdict(one) for one in result.groups[index]]} if result.groups else {}
    return {**head, **groups, "scale_rows": len(scale.scores), "stands_out": scale.stands_out(), **sides}
