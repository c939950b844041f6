"""What a search for rows found: each row, by which rule, and what in it matched."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unweave.data.rows import Row


@dataclass(frozen=True)
class Match:
    """Why a row was found.

    Attributes:
        rule: `id`, `where FIELD`, `text`, `near METHOD`, `person RULE`, or `copy`.
        field: Where in the row, where that is known.
        words: What stands there. For people to look at, and kept nowhere.
        similarity: To the text of `--near`.
        doubt: Why it may not be meant.
    """

    rule: str
    field: str = ""
    words: str = ""
    similarity: float | None = None
    doubt: str = ""

    def recorded(self) -> str:
        """The rule as a ledger keeps it: without any text of the row."""
        near = "" if self.similarity is None else f" {self.similarity:.2f}"
        return (
            f"{self.rule}{near}" + (f", in {self.field}" if self.field else "") + (", in doubt" if self.doubt else "")
        )


@dataclass(frozen=True)
class FoundRow:
    """A row, and why it was found.

    Attributes:
        row: The row.
        matches: One a criterion.
    """

    row: Row
    matches: tuple[Match, ...]

    @property
    def doubts(self) -> list[str]:
        """Why it may not be meant."""
        return [match.doubt for match in self.matches if match.doubt]


@dataclass(frozen=True)
class Selection:
    """The rows that a search found.

    Attributes:
        found: The rows that are taken, in the order of the data.
        doubtful: Rows that may not be meant, and are not taken.
        criteria: Criterion to what was typed, as texts.
    """

    found: list[FoundRow]
    doubtful: list[FoundRow] = field(default_factory=list)
    criteria: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """The rows that are taken."""
        return [one.row for one in self.found]

    def counts(self) -> dict[str, int]:
        """How many of the rows each rule found, the most first; a row counts once a criterion."""
        return dict(Counter(match.rule for one in self.found for match in one.matches).most_common())

    def to_json(self) -> dict[str, Any]:
        """Counts, and each row with its place, what matched and the text, as JSON holds them."""
        return {
            "counts": self.counts(),
            "found": [_shown(one) for one in self.found],
            "doubtful": [_shown(one) for one in self.doubtful],
        }


def _shown(one: FoundRow) -> dict[str, Any]:
    return {
        "id": one.row.id,
        "source": one.row.source,
        "line": one.row.line,
        "matches": [match.__dict__ for match in one.matches],
        "prompt": one.row.user_text,
        "completion": one.row.completion,
    }
