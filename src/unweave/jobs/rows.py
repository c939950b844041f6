"""Rows as a model sees them, for people who want to know what is learned of their data."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unweave.data.config import read_configured
from unweave.data.dates import dated
from unweave.data.encoding import encode_rows
from unweave.data.pieces import pieces_of
from unweave.data.reading import Problem
from unweave.visible import visible

if TYPE_CHECKING:
    from unweave.train.config import ShowRowsConfig


@dataclass(frozen=True)
class ShownRow:
    """One row.

    Attributes:
        id: Its id.
        place: File and line.
        text: What the model sees.
        learned: What it learns of it, each stretch with what ends the answer.
        unused: Columns, and keys of messages, that it does not see.
        tokens: How many tokens the row has.
        learned_tokens: How many of them are learned.
        pieces: The text in pieces, each with whether it is learned; hidden characters are shown.
    """

    id: str
    place: str
    text: str
    learned: list[str]
    unused: list[str]
    tokens: int
    learned_tokens: int
    pieces: list[tuple[str, bool]] = field(repr=False)


@dataclass(frozen=True)
class ShownRows:
    """What was recognised, and the first rows of it.

    Attributes:
        layout: The layout of most rows.
        layouts: How many rows have each.
        read: How many rows were read.
        unused: Columns, and keys of messages, that are not used.
        problems: What was dropped, cut or left out.
        rows: The rows that are shown.
    """

    layout: str
    layouts: dict[str, int]
    read: int
    unused: list[str]
    problems: list[Problem]
    rows: list[ShownRow]


def show_rows(config: "ShowRowsConfig") -> ShownRows:
    """Read rows, and say what the model sees of the first ones.

    Args:
        config: The rows, the model whose tokenizer reads them, and how many to show.

    Returns:
        What was recognised, and the rows.
    """
    from unweave.models.loading import ModelConfig, tokenizer_of

    tokenizer = tokenizer_of(ModelConfig(model=config.model, revision=config.revision, adapter=config.adapter))
    rows = read_configured(config.data, config, whole=True, say=False)
    encoded = encode_rows(rows.rows[: config.limit], tokenizer, dated(config, tokenizer))
    by_id = {row.id: row for row in rows}
    shown = []
    for example in encoded.examples:
        row = by_id[example.row_id]
        pieces = pieces_of(example, tokenizer)
        shown.append(
            ShownRow(
                row.id,
                row.place,
                "".join(text for text, _ in pieces),
                [text for text, is_learned in pieces if is_learned],
                list(row.unused),
                len(example),
                example.completion_length,
                [(visible(text), is_learned) for text, is_learned in pieces],
            )
        )
    layouts = rows.layouts
    return ShownRows(
        next(iter(layouts)), layouts, len(rows), list(rows.unused), [*rows.problems, *encoded.problems], shown
    )
