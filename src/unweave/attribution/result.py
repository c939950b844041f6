"""What a trace gives: queries with the rows that they come from."""

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from unweave.attribution.details import TokenDetail
from unweave.attribution.groups import GroupSum
from unweave.attribution.overlap import Overlap, find_overlap, has_both
from unweave.attribution.retrieval import RankedRow, Ranking
from unweave.attribution.scale import Scale
from unweave.data.rows import Row


@dataclass(frozen=True)
class Standing:
    """What stands beside the influence of a row on an answer.

    Attributes:
        level: Share of rows whose influence is below it.
        deviations: Robust standard deviations above all rows; `None` where there is no scale.
        overlap: Words that answer and row share.
    """

    level: float
    deviations: float | None
    overlap: Overlap

    @property
    def has_both(self) -> bool:
        """Whether influence and shared words both speak for the row."""
        return has_both(self.overlap, self.deviations)


@dataclass(frozen=True)
class TraceResult:
    """Queries with the rows that they come from.

    Attributes:
        queries: Prompt and answer of each query.
        parts: The traced part of each answer, where it is not the whole.
        rankings: The rows of each query.
        row_ids: All rows of the store, in scan order.
        scores: The influence of each row on each query; `None` where only the top rows were kept.
        texts: Row id to prompt, completion, source and line.
        seconds: Wall time of gradients and scan, loading and generation apart.
        details: For each query, row id to what its tokens contribute; empty without `rerank`.
        exact: For each query, row id to the exact influence of each row that was scored again; empty without `rerank`.
        scales: For each query, what the influence of a row is held against.
        groups: For each query, the influence of all rows by a field of theirs; empty where none was asked for.
        against: The other answer of each query, where one was given: what is traced is the contrast.
    """

    queries: list[Row]
    parts: list[str | None]
    rankings: list[Ranking]
    row_ids: list[str]
    scores: Float[Tensor, "q n"] | None
    texts: dict[str, dict[str, Any]]
    seconds: float
    details: list[dict[str, TokenDetail]] = field(default_factory=list)
    exact: list[dict[str, float]] = field(default_factory=list)
    scales: list[Scale] = field(default_factory=list)
    against: list[str | None] = field(default_factory=list)
    groups: list[list[GroupSum]] = field(default_factory=list)

    def standing(self, index: int, hit: RankedRow) -> Standing:
        """What stands beside a row's influence, for whatever shows it.

        Args:
            index: The query.
            hit: A row of its ranking.

        Returns:
            Its level, deviations and shared words.
        """
        scale, text = self.scales[index], self.texts.get(hit.row_id, {})
        overlap = find_overlap(self.queries[index].completion, text.get("prompt", ""), text.get("completion", ""))
        return Standing(scale.level(hit.influence), scale.deviations(hit.influence), overlap)
