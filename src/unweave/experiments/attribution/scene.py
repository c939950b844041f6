"""What a measure trains on and asks: rows in which something is planted, queries, and which rows each should lead to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from unweave.data.rows import Row
from unweave.experiments.attribution.config import AttributionBenchConfig


@dataclass(frozen=True)
class Scene:
    """Training rows and queries.

    Attributes:
        rows: The training rows, each under an id of its own.
        queries: Prompts with the answers that are asked about.
        relevant: For each query the ids of the rows that it should lead to; empty where that is not known.
        planted: Ids of the rows in which something was planted.
        about: What each query is about: two of different kinds are unrelated.
        notes: What readers of the figures have to know.
    """

    rows: Sequence[Row]
    queries: Sequence[Row]
    relevant: Sequence[frozenset[str]] = ()
    planted: frozenset[str] = frozenset()
    about: Sequence[str] = ()
    notes: tuple[str, ...] = field(default=())

    def places(self, ids: frozenset[str]) -> list[bool]:
        """Which rows are among some.

        Args:
            ids: Of rows.

        Returns:
            A flag a row.
        """
        return [row.id in ids for row in self.rows]


Maker = Callable[[AttributionBenchConfig, int], Scene]
"""Config and seed to a scene; equal seeds give equal rows on every machine."""
