"""Which rows a request means: ids, fields, words, near-duplicates."""

import json
from collections.abc import Callable, Sequence

from unweave import progress
from unweave.audit.ledger.config import SelectionConfig
from unweave.data.config import ReadingConfig
from unweave.data.copies import normal_form, row_text, shingles
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError, MissingExtraError, nearest

PERMUTATIONS = 256


def select_rows(rows: Sequence[Row], config: SelectionConfig, *, reading: ReadingConfig | None = None) -> list[Row]:
    """The rows that match every criterion given.

    Args:
        rows: All rows.
        config: The criteria.
        reading: The options that the data was read with: a file of rows may be in the same layout.

    Returns:
        The rows, in the order of the data.

    Raises:
        ConfigError: When there is no criterion.
        DataError: When an id is unknown, a field is, or nothing matches.
    """
    tests: list[Callable[[Row], bool]] = []
    if wanted := _ids(config, {row.id for row in rows}, reading or ReadingConfig()):
        tests.append(lambda row: row.id in wanted)
    if config.where:
        tests.append(_where(config.where, rows))
    if config.text is not None:
        tests.append(_contains(config.text, rows))
    if config.near is not None:
        _require_words(config.near, "--near")
        near = near_duplicates(rows, config.near, method=config.near_method, similarity=config.similarity)
        tests.append(lambda row: row.id in near)
    if not tests:
        raise ConfigError(
            "A request needs rows.",
            where="--row-ids, --rows, --where, --text, --near",
            remedy="give one of them at least",
        )
    found = [row for row in rows if all(test(row) for test in tests)]
    if not found:
        raise DataError("No row matches the request.", remedy="check the ids, fields and words")
    return found


def _contains(text: str, rows: Sequence[Row]) -> Callable[[Row], bool]:
    """Whether words stand in a row, however its letters are written."""
    _require_words(text, "--text")
    plain, needle = text.casefold(), normal_form(text)

    def stands(row: Row) -> bool:
        return any(needle in normal_form(part) for part in (row.user_text, row.completion, row_text(row)))

    more = sum(stands(row) and plain not in f"{row.user_text}\n{row.completion}".casefold() for row in rows)
    if more:
        progress.say(
            f"--text: {more} row(s) have these words in another form only (accents, width, white space, earlier turns)"
        )
    return stands


def _require_words(text: str, option: str) -> None:
    if not normal_form(text):
        raise ConfigError("An empty text stands in every row.", where=option, remedy="give the words that are meant")


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
    from unweave.models.encoder import load_encoder
    from unweave.trace.config import ENCODER

    vectors = load_encoder(ENCODER).encode([text, *texts])
    return (vectors[1:] @ vectors[0]).tolist()


def _ids(config: SelectionConfig, known: set[str], reading: ReadingConfig) -> set[str]:
    wanted = set(config.row_ids)
    if config.rows is not None:
        wanted |= {row.id for row in read_beside(config.rows, config, reading)}
    if unknown := sorted(wanted - known):
        raise DataError(
            f"{len(unknown)} row id(s) are not in the data, such as '{unknown[0]}'.",
            where="--row-ids, --rows",
            remedy=nearest(unknown[0], known),
        )
    return wanted


def _where(where: dict[str, str], rows: Sequence[Row]) -> Callable[[Row], bool]:
    columns = {"id", "prompt", "completion", "source"} | {name for row in rows for name in row.meta}
    for name in where:
        if name not in columns:
            raise DataError(f"No row has a field '{name}'.", where="--where", remedy=nearest(name, columns))

    def matches(row: Row) -> bool:
        fields = {**row.meta, "id": row.id, "prompt": row.user_text, "completion": row.completion, "source": row.source}
        return all(name in fields and as_text(fields[name]) == value for name, value in where.items())

    return matches


def as_text(value: object) -> str:
    """A column's value as it is written on the command line.

    Args:
        value: Any JSON value.

    Returns:
        Strings as they are, everything else as JSON.
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
