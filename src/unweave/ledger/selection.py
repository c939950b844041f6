"""Which rows a request means: ids, fields, words, a text that they are near to, a person whom they name.

An accident must not select: what is given and empty is an error and no missing criterion, and a request of most rows is asked for by name. What is typed is
found however its letters are written (`unweave.data.forms`); how many rows that adds to what stands there letter by letter is said.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence

from unweave import progress
from unweave.arguments import quoted
from unweave.data.config import ReadingConfig
from unweave.data.copies import row_text
from unweave.data.forms import composed_form, normal_form
from unweave.data.persons import find_person, row_fields
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError, nearest
from unweave.ledger.config import SelectionConfig
from unweave.ledger.found import FoundRow, Match, Selection
from unweave.ledger.near import near_rows
from unweave.ranges import require_in_range

CRITERIA = quoted("row_ids", "rows", "where", "text", "near", "person")
MANY = 0.5
"""The share of all rows from which on a request must say that it means so many."""


Finder = Callable[[Row], Match | None]


def select_rows(rows: Sequence[Row], config: SelectionConfig, *, reading: ReadingConfig | None = None) -> Selection:
    """The rows that match every criterion given.

    Args:
        rows: All rows.
        config: The criteria.
        reading: The options that the data was read with: a file of rows may be in the same layout.

    Returns:
        The rows, in the order of the data, with what matched; those that may not be meant apart.

    Raises:
        ConfigError: When there is no criterion, or one is empty.
        DataError: When an id is unknown, a field is, or nothing matches.
    """
    finders = _finders(rows, config, reading or ReadingConfig())
    if not finders:
        raise ConfigError("A request needs rows.", where=CRITERIA, remedy="give one of them at least")
    found = []
    for row in rows:
        matches = [match for find in finders if (match := find(row)) is not None]
        if len(matches) == len(finders):
            found.append(FoundRow(row, tuple(matches)))
    doubtful = [] if config.include_ambiguous else [one for one in found if one.doubts]
    taken = found if config.include_ambiguous else [one for one in found if not one.doubts]
    if not taken:
        doubts = f" ({len(doubtful)} may: the first because {doubtful[0].doubts[0]})" if doubtful else ""
        raise DataError(
            f"No row matches the request{doubts}.",
            remedy="look at them with `preview` and `include_ambiguous`"
            if doubtful
            else "check the ids, fields and words",
        )
    typed = {"text": config.text, "near": config.near, "person": config.person}
    criteria = {name: (value,) for name, value in typed.items() if value is not None}
    return Selection(taken, doubtful, {**criteria, **({"alias": config.alias} if config.alias else {})})


def _finders(rows: Sequence[Row], config: SelectionConfig, reading: ReadingConfig) -> list[Finder]:
    """A function a criterion: what of a row matches it."""
    finders: list[Finder] = []
    if config.row_ids or config.rows is not None:
        wanted = _ids(config, rows, reading)
        finders.append(lambda row: Match("id") if row.id in wanted else None)
    if config.where is not None:
        matches, rule = _where(config.where, rows), f"where {', '.join(config.where)}"
        finders.append(lambda row: Match(rule) if matches(row) else None)
    if config.text is not None:
        finders.append(_contains(config.text, rows))
    if config.near is not None:
        finders.append(_near(config, rows))
    elif config.max_rows is not None or config.similarity is not None:
        raise ConfigError(
            "Nothing is to be near to anything.", where="`max_rows`, `similarity`", remedy="give `near` a text"
        )
    if config.person is not None:
        finders.append(_person(config, rows))
    elif config.alias:
        raise ConfigError(
            "An alias is another name of a person.", where="`alias`", remedy="give the name with `person`"
        )
    return finders


def _near(config: SelectionConfig, rows: Sequence[Row]) -> Finder:
    assert config.near is not None, "there is a text"
    _require_words(config.near, "near")
    require_in_range(config)
    near = near_rows(
        rows, config.near, method=config.near_method, similarity=config.similarity, max_rows=config.max_rows
    )
    return lambda row: (
        Match(f"near {near[row.id][0]}", similarity=round(near[row.id][1], 4)) if row.id in near else None
    )


def _person(config: SelectionConfig, rows: Sequence[Row]) -> Finder:
    assert config.person is not None, "there is a name"
    found = find_person(rows, config.person, aliases=config.alias)
    mentions = {**found.named, **found.doubtful}
    return lambda row: (
        Match(f"person {own.rule}", own.field, own.words, doubt=own.doubt) if (own := mentions.get(row.id)) else None
    )


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


def _contains(text: str, rows: Sequence[Row]) -> Finder:
    """Where words stand in a row, in any of its turns, however its letters are written."""
    _require_words(text, "text")
    plain, needle = text.casefold(), normal_form(text)

    def stands(row: Row) -> str | None:
        for field, part in row_fields(row):
            if needle in normal_form(part):
                return field
        return "several turns" if needle in row_text(row) else None

    found = {row.id: field for row in rows if (field := stands(row)) is not None}
    _report_other_forms(
        "`text`",
        [row for row in rows if row.id in found],
        lambda row: any(plain in part.casefold() for part in (row.user_text, *(part for _, part in row_fields(row)))),
    )
    return lambda row: Match("text", found[row.id], text) if row.id in found else None


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
