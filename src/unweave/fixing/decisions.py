"""What is to be forgotten: asked on a terminal, taken as proposed, or read from a file that somebody has edited."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unweave import terminal
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.files import parse_json, read_text, write_jsonl
from unweave.visible import one_line

FORGET, KEEP = "forget", "keep"
FILE = "decisions.jsonl"
SHOWN = 60


def proposed(seeds: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The rows that are proposed, with why.

    Args:
        seeds: The rows that the trace names.
        found: Those that were found from them.

    Returns:
        Row id to the reason in words.
    """
    traced = {one["row"]: f"traced: {one['words']}" for one in seeds}
    return traced | {one["row"]: one["why"]["words"] for one in found}


def write_decisions(path: Path, why: Mapping[str, str], rows: Mapping[str, Row]) -> None:
    """Write the proposals as a file to edit.

    Args:
        path: The file.
        why: Row id to the reason.
        rows: Row id to the row.
    """
    write_jsonl(
        path,
        [
            {
                "id": row_id, "decision": FORGET, "why": words, "prompt": rows[row_id].prompt,
                "completion": rows[row_id].completion,
            }
            for row_id, words in why.items()
        ],
    )  # fmt: skip


def read_decisions(path: Path, rows: Mapping[str, Row]) -> list[str]:
    """The rows to forget, from a file of decisions. Lines may be added, for rows that nobody proposed.

    Args:
        path: The file.
        rows: Row id to the row.

    Returns:
        Their ids, in the order of the file.

    Raises:
        DataError: When a line is none, names no row of the data, or decides nothing.
    """
    chosen = []
    for number, line in enumerate(read_text(path, what="The decisions").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        one = parse_json(line, what="The decision", where=where)
        if not isinstance(one, dict) or one.get("decision") not in (FORGET, KEEP):
            raise DataError(
                "A line decides nothing.", where=where, remedy=f'write "decision": "{FORGET}" or "decision": "{KEEP}"'
            )
        if one.get("id") not in rows:
            raise DataError(f"The row '{one.get('id')}' is not in the data.", where=where, remedy="correct its id")
        if one["decision"] == FORGET:
            chosen.append(str(one["id"]))
    return list(dict.fromkeys(chosen))


def ask(why: Mapping[str, str], rows: Mapping[str, Row]) -> bool:
    """Show the proposals, and ask whether they are to be forgotten.

    Args:
        why: Row id to the reason.
        rows: Row id to the row.

    Returns:
        The answer.
    """
    lines = [
        [row_id, one_line(rows[row_id].prompt)[:SHOWN], one_line(rows[row_id].completion)[:SHOWN], words]
        for row_id, words in why.items()
    ]
    header = ["row", "prompt", "completion", "why"]
    terminal.print_table(f"{len(lines)} rows to forget", header, lines, text_columns=header)
    return terminal.ask(f"Forget these {len(lines)} rows?")


def require_few(count: int, *, yes: bool, max_rows: int | None) -> None:
    """Refuse to forget more rows than somebody has agreed to.

    Args:
        count: Rows that are proposed.
        yes: Whether nobody is to be asked.
        max_rows: The most that may be forgotten so.

    Raises:
        ConfigError: When there is no such number, or more rows are proposed.
    """
    if yes and max_rows is None:
        raise ConfigError(
            "To forget rows and ask nobody needs a bound.",
            where="`max_rows`",
            remedy="give the most rows that may be forgotten",
        )
    if max_rows is not None and not yes:
        raise ConfigError("The bound is that of `yes`.", where="`max_rows`", remedy="add `yes`, or leave it out")
    if max_rows is not None and count > max_rows:
        raise ConfigError(
            f"{count} rows are proposed, and {max_rows} may be forgotten.",
            where="`max_rows`",
            remedy="raise it, or decide row by row with `decisions`",
        )
