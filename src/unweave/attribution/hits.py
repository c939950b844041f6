"""The rows that an answer comes from, as objects."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, overload

from unweave.attribution.details import TokenDetail
from unweave.attribution.groups import GroupSum, sums_by
from unweave.attribution.overlap import Overlap, has_both
from unweave.attribution.result import TraceResult
from unweave.attribution.retrieval import RankedRow
from unweave.attribution.scale import Scale
from unweave.data.rows import Row
from unweave.errors import MissingExtraError
from unweave.lazy import resolve
from unweave.store.base import Store
from unweave.store.outputs import remember_output
from unweave.store.store import GradientStore
from unweave.store.texts import stored_rows

if TYPE_CHECKING:
    import pandas

PAGE = "unweave.report.trace_page:write_trace_page"
"""What writes the page; pages stand above the library, so it is looked up when one is asked for."""
RENDERED, FRAMED = "unweave.report.trace_page:render_trace_page", "unweave.report.notebook:framed"


@dataclass(frozen=True)
class Hit:
    """A training row with its influence on an answer.

    Example:
        >>> import unweave as uw
        >>> index = uw.GradientIndex.build(model, rows, dimension=4096)
        >>> hit = index.attribute("add 1 and 2", completion="3", rerank=2, top_k=2)[0]
        >>> hit.row.completion, hit.influence > 0, hit.level, len(hit.tokens.row_tokens)
        ('3', True, 0.875, 11)

    Attributes:
        row: The row.
        influence: The step size times <g(query), g(row)>: positive where a step on the row lowers the answer's loss.
        level: Share of all rows of the index whose influence is below this one's, from 0 to 1.
        deviations: (influence - median) / (1.4826 MAD), with the median of all rows and the median absolute deviation from it: how many robust standard
            deviations the row lies above them. `None` where half of the rows have the same influence.
        overlap: Words that the answer and the row share: evidence of another kind.
        tokens: What the tokens of both contribute, where the row was scored exactly.
    """

    row: Row
    influence: float
    level: float
    deviations: float | None
    overlap: Overlap = field(repr=False)
    tokens: TokenDetail | None = field(default=None, repr=False)

    @property
    def has_both(self) -> bool:
        """Whether influence (3 robust deviations or more) and shared words both speak for the row."""
        return has_both(self.overlap, self.deviations)


@dataclass(frozen=True, eq=False)
class Hits(Sequence[Hit]):
    """The rows with the most influence on an answer, the most helpful first.

    Example:
        >>> import unweave as uw
        >>> hits = uw.GradientIndex.build(model, rows, dimension=4096).attribute("hello", completion="world", top_k=3)
        >>> [hit.row.completion for hit in hits], len(hits.harmful)
        (['world', 'Tokyo', 'Paris'], 3)
        >>> hits.to_pandas().columns.tolist()
        ['id', 'influence', 'level', 'deviations', 'prompt', 'completion', 'source', 'line']
        >>> hits.save_html("trace.html").name
        'trace.html'

    Attributes:
        query: The prompt, and the answer that was traced.
        part: The traced part of the answer, where it is not the whole.
        helpful: The rows that this is a sequence of: a step on one lowers the answer's loss.
        harmful: The rows at the other end, the most harmful first.
    """

    query: Row
    part: str | None
    helpful: tuple[Hit, ...]
    harmful: tuple[Hit, ...] = field(repr=False)
    _result: TraceResult = field(repr=False)
    _store: Store = field(repr=False)

    @classmethod
    def of(cls, result: TraceResult, store: Store) -> "Hits":
        """The hits of a trace of one query.

        Args:
            result: The trace.
            store: The store that it is of.

        Returns:
            The hits.
        """
        ranking = result.rankings[0]
        details = result.details[0] if result.details else {}

        def hits(ranked: Sequence[RankedRow]) -> tuple[Hit, ...]:
            rows = stored_rows(result.texts, [one.row_id for one in ranked], where=store.place)
            beside = [result.standing(0, one) for one in ranked]
            return tuple(
                Hit(row, one.influence, own.level, own.deviations, own.overlap, details.get(one.row_id))
                for row, one, own in zip(rows, ranked, beside, strict=True)
            )

        return cls(result.queries[0], result.parts[0], hits(ranking.helpful), hits(ranking.harmful), result, store)

    @property
    def stands_out(self) -> bool | None:
        """Whether the best rows stand apart from the tail of all rows, by the test of gaps of `Scale.stands_out`; `None` where that can't be said."""
        return self._result.scales[0].stands_out()

    @property
    def scale(self) -> Scale:
        """What the influence of a row is held against."""
        return self._result.scales[0]

    @property
    def scores(self) -> dict[str, float]:
        """Row id to influence of all rows: exact where a row was scored again, of the sketches elsewhere."""
        result = self._result
        assert result.scores is not None, "an index keeps all scores"
        found = dict(zip(result.row_ids, result.scores[0].tolist(), strict=True))
        return found | (result.exact[0] if result.exact else {})

    @property
    def against(self) -> str | None:
        """The other answer, where the trace is a contrast."""
        return self._result.against[0]

    def sums(self, by: str) -> list[GroupSum]:
        """The influence of all rows of the index, summed by a field of theirs.

        Args:
            by: A column of the rows' data, such as `owner`, or `source` for the file they came from.

        Returns:
            A group for each value, the largest sum first; sums are of sketched scores, also where some rows were scored again exactly.

        Raises:
            DataError: When no row has the field.
        """
        result = self._result
        assert result.scores is not None, "an index keeps all scores"
        return sums_by(by, result.row_ids, result.scores[:1], result.texts, where=self._store.place)[0]

    def __len__(self) -> int:
        return len(self.helpful)

    @overload
    def __getitem__(self, index: int) -> Hit: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.helpful[index]

    def to_pandas(self) -> "pandas.DataFrame":
        """The hits as a table.

        Returns:
            A line a hit: id, influence, level, deviations, prompt, completion, source, line.

        Raises:
            MissingExtraError: When pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("pandas", extra="datasets", purpose="A table") from error
        columns = ("id", "influence", "level", "deviations", "prompt", "completion", "source", "line")
        lines = [
            (hit.row.id, hit.influence, hit.level, hit.deviations, *(getattr(hit.row, name) for name in columns[4:]))
            for hit in self
        ]
        return pandas.DataFrame(lines, columns=list(columns))

    def save_html(self, path: str | Path) -> Path:
        """Write the hits, those at the other end too, as a page: one file, no script, no remote request.

        An index on a disk remembers the page, and names it when one of its rows is deleted for good.

        Args:
            path: The file.

        Returns:
            The file.
        """
        path = Path(path)
        resolve(PAGE)(path, self._result, self._store.spec)
        if isinstance(self._store, GradientStore):
            remember_output(self._store, path)
        return path

    def _repr_html_(self) -> str:
        """The page of the hits, as a notebook shows it."""
        return resolve(FRAMED)(resolve(RENDERED)(self._result, self._store.spec))
