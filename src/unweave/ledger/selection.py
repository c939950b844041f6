"""Which rows a request means: ids, fields, words, near-duplicates.

An accident must not select: what is given and empty is an error and no missing criterion, and a request of most rows is asked for by name. What is typed is
found however its letters are written (`unweave.data.forms`); how many rows that adds to what stands there letter by letter is said.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from unweave import progress
from unweave.arguments import quoted
from unweave.data.config import ReadingConfig
from unweave.data.copies import row_text, shingles
from unweave.data.forms import composed_form, normal_form
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError, MissingExtraError, nearest
from unweave.ledger.config import SelectionConfig
from unweave.ranges import require_in_range

PERMUTATIONS = 256
CRITERIA = quoted("row_ids", "rows", "where", "text", "near")
MANY = 0.5
"""The share of all rows from which on a request must say that it means so many."""


def select_rows(rows: Sequence[Row], config: SelectionConfig, *, reading: ReadingConfig | None = None) -> list[Row]:
    """The rows that match every criterion given.

    Args:
        rows: All rows.
        config: The criteria.
        reading: The options that the data was read with: a file of rows may be in the same layout.

    Returns:
        The rows, in the order of the data.

    Raises:
        ConfigError: When there is no criterion, or one is empty.
        DataError: When an id is unknown, a field is, or nothing matches.
    """
    tests: list[Callable[[Row], bool]] = []
    if config.row_ids or config.rows is not None:
        wanted = _ids(config, rows, reading or ReadingConfig())
        tests.append(lambda row: row.id in wanted)
    if config.where is not None:
        tests.append(_where(config.where, rows))
    if config.text is not None:
        tests.append(_contains(config.text, rows))
    if config.near is not None:
        _require_words(config.near, "near")
        require_in_range(config)
        near = near_duplicates(rows, config.near, method=config.near_method, similarity=config.similarity)
        tests.append(lambda row: row.id in near)
    if not tests:
        raise ConfigError("A request needs rows.", where=CRITERIA, remedy="give one of them at least")
    found = [row for row in rows if all(test(row) for test in tests)]
    if not found:
        raise DataError("No row matches the request.", remedy="check the ids, fields and words")
    return found


def require_meant(chosen: Sequence[Row], rows: Sequence[Row], config: SelectionConfig) -> None:
    """Refuse a request of all rows, and one of most rows that does not say so.

    Args:
        chosen: The rows of the request.
        rows: All rows.
        config: The criteria.

    Raises:
        ConfigError: When these are too many to be asked for in passing.
    """
    if len(chosen) == len(rows):
        raise ConfigError(
            f"All {len(rows)} rows of the data match the request: none would be left to keep, or to test on.",
            where=CRITERIA,
            remedy="ask for the rows that are meant; to be rid of all, delete the model",
        )
    if len(chosen) > MANY * len(rows) and not config.most:
        raise ConfigError(
            f"{len(chosen)} of the {len(rows)} rows match the request, which is most of the data.",
            where=CRITERIA,
            remedy="ask for the rows that are meant; if it is these, say so with `most`",
        )


def _contains(text: str, rows: Sequence[Row]) -> Callable[[Row], bool]:
    """Whether words stand in a row, in any of its turns, however its letters are written."""
    _require_words(text, "text")
    plain, needle = text.casefold(), normal_form(text)

    def stands(row: Row) -> bool:
        return needle in row_text(row) or any(needle in normal_form(part) for part in _parts(row))

    found = [row for row in rows if stands(row)]
    _report_other_forms("`text`", found, lambda row: any(plain in part.casefold() for part in _parts(row)))
    wanted = {row.id for row in found}
    return lambda row: row.id in wanted


def _parts(row: Row) -> list[str]:
    """All texts of a row: its turns, what their messages hold beside them, tools, and the right answer where there is one."""
    parts = [turn.content for turn in row.conversation]
    extra: list[Any] = [turn.extra for turn in row.conversation if turn.extra]
    if extra or row.tools:
        parts.append(json.dumps([*extra, *row.tools], ensure_ascii=False, default=str))
    return [*parts, row.user_text, *([row.clean_completion] if row.clean_completion else [])]


def _report_other_forms(option: str, found: Sequence[Row], literally: Callable[[Row], bool]) -> None:
    """Say how many rows a search found that hold what was typed in another form only."""
    if more := sum(not literally(row) for row in found):
        progress.say(
            f"{option}: {more} of {len(found)} row(s) have this in another form only than it was typed in "
            "(composed letters, width, white space, quotes and dashes, invisible characters, more than one turn)"
        )


def _require_words(text: str, argument: str) -> None:
    if not normal_form(text):
        raise ConfigError(
            "An empty text stands in every row.", where=quoted(argument), remedy="give the words that are meant"
        )


def near_duplicates(rows: Sequence[Row], text: str, *, method: str, similarity: float) -> dict[str, float]:
    """Rows that are nearly a text.

    Args:
        rows: All rows.
        text: The text.
        method: `minhash` or `embedding`.
        similarity: The least.

    Returns:
        Row id to similarity.
    """
    texts = [f"{row.user_text}\n{row.completion}" for row in rows]
    values = _minhash(texts, text) if method == "minhash" else _embedding(texts, text)
    return {row.id: value for row, value in zip(rows, values, strict=True) if value >= similarity}


def _minhash(texts: Sequence[str], text: str) -> list[float]:
    """Estimated Jaccard similarity of the sets of letter shingles (Broder 1997); the standard error is 1/32."""
    try:
        from datasketch import MinHash
    except ImportError as error:
        raise MissingExtraError("datasketch", extra="ledger", purpose="Finding near-duplicates by MinHash") from error

    def signature(content: str) -> MinHash:
        made = MinHash(num_perm=PERMUTATIONS)
        made.update_batch([shingle.encode() for shingle in shingles(normal_form(content))])
        return made

    own = signature(text)
    return [float(own.jaccard(signature(other))) for other in texts]


def _embedding(texts: Sequence[str], text: str) -> list[float]:
    from unweave.attribution.config import ENCODER
    from unweave.models.encoder import load_encoder

    vectors = load_encoder(ENCODER).encode([text, *texts])
    return (vectors[1:] @ vectors[0]).tolist()


def _ids(config: SelectionConfig, rows: Sequence[Row], reading: ReadingConfig) -> set[str]:
    """The rows that are named: by their ids as they are, or the one row whose id is the same name, typed otherwise."""
    wanted = list(config.row_ids)
    if config.rows is not None:
        given = [row.id for row in read_beside(config.rows, config, reading)]
        if not given:
            raise DataError(
                "The file names no row.", where=str(config.rows), remedy="give a file of rows, or leave `rows` out"
            )
        wanted += given
    present = {row.id for row in rows}
    forms: dict[str, list[str]] = defaultdict(list)
    for row_id in present:
        forms[composed_form(row_id)].append(row_id)
    found = {row_id for row_id in wanted if row_id in present}
    otherwise = {row_id: sorted(forms.get(composed_form(row_id), ())) for row_id in wanted if row_id not in present}
    if unknown := sorted(row_id for row_id, those in otherwise.items() if not those):
        raise DataError(
            f"{len(unknown)} row id(s) are not in the data, such as '{unknown[0]}'.",
            where="`row_ids`, `rows`",
            remedy=nearest(unknown[0], present),
        )
    for row_id, those in otherwise.items():
        if len(those) > 1:
            raise DataError(
                f"The row id '{row_id}' is not in the data, and {len(those)} rows have an id that looks like it.",
                where="`row_ids`, `rows`",
                remedy="give a file of the rows that are meant (`rows`)",
            )
        found.add(those[0])
    if otherwise:
        progress.say(
            f"`row_ids`, `rows`: {len(otherwise)} row(s) have an id that was typed otherwise (composed letters)"
        )
    if beside := {other for row_id in found for other in forms[composed_form(row_id)]} - found:
        progress.say(
            f"`row_ids`, `rows`: {len(beside)} more row(s) have an id that looks like one of these; they are not taken"
        )
    return found


def _where(where: dict[str, str], rows: Sequence[Row]) -> Callable[[Row], bool]:
    if not where:
        raise ConfigError("No field is given.", where="`where`", remedy="give a field and its value, or leave it out")
    columns = {"id", "prompt", "completion", "source"} | {name for row in rows for name in row.meta}
    for name in where:
        if name not in columns:
            raise DataError(f"No row has a field '{name}'.", where="`where`", remedy=nearest(name, columns))
    forms = {name: composed_form(value) for name, value in where.items()}

    def values(row: Row) -> dict[str, str]:
        fields = {**row.meta, "id": row.id, "prompt": row.user_text, "completion": row.completion, "source": row.source}
        return {name: as_text(fields[name]) for name in where if name in fields}

    def literally(row: Row) -> bool:
        return values(row) == where

    def matches(row: Row) -> bool:
        own = values(row)
        # A value of nothing but invisible characters is not the empty one.
        return own.keys() == where.keys() and all(
            own[name] == value or (forms[name] and composed_form(own[name]) == forms[name])
            for name, value in where.items()
        )

    found = [row for row in rows if matches(row)]
    _report_other_forms("`where`", found, literally)
    wanted = {row.id for row in found}
    return lambda row: row.id in wanted


def as_text(value: object) -> str:
    """A column's value as it is written on the command line.

    Args:
        value: Any JSON value.

    Returns:
        Strings as they are, everything else as JSON.
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
