"""What was found beside the rows that were given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from unweave.data.rows import Row
from unweave.finding.missed import Missed
from unweave.frames import frame

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Why:
    """Why a row is proposed.

    Attributes:
        seed: The row to forget, given or accepted before, that speaks most for it.
        shares: Signal to what it adds to the score; they sum to the score. Empty for a copy.
        influence: Cosine of its gradient with the seed's, less what gradients of random rows share; `None` where gradients were not looked at.
        similarity: Jaccard similarity of the two texts' five-letter shingles, where the row is a near-duplicate of the seed; `None` where it is not.
        run: The longest run of words that the two answers have in common.
        facts: Names, numbers and dates that the two have in common.
    """

    seed: str
    shares: Mapping[str, float]
    influence: float | None
    similarity: float | None
    run: str
    facts: tuple[str, ...]

    def in_words(self) -> str:
        """The reasons in words, the strongest first."""
        if self.similarity is not None:
            return f"near-duplicate of {self.seed} ({self.similarity:.2f})"
        said = [
            f"{name} {share:+.2f}"
            for name, share in sorted(self.shares.items(), key=lambda one: -one[1])
            if abs(share) >= 0.005
        ]
        words = f"like {self.seed}: {', '.join(said)}"
        if self.facts:
            words += f"; both have {', '.join(repr(fact) for fact in self.facts[:3])}"
        return words


@dataclass(frozen=True)
class Proposal:
    """A row that teaches what the given rows teach, as it seems.

    Attributes:
        row: The row.
        score: Prediction of the regression, from all other rows.
        level: Share of all rows that were not given, or found before, that score lower.
        p: Probability of such a score among rows that have nothing to do with the given ones, by the spread of the lower half of all scores.
        round: In which round it was found, from 1; from the second on rows found before are seeds too.
        why: The reasons.
    """

    row: Row
    score: float
    level: float
    p: float
    round: int
    why: Why

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, without the row's text."""
        why = {**self.why.__dict__, "shares": dict(self.why.shares), "words": self.why.in_words()}
        return {
            "row": self.row.id, "score": self.score, "level": self.level, "p": self.p, "round": self.round, "why": why,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Found(Sequence[Proposal]):
    """The rows that are proposed beside the given ones, in the order in which they were found, the likeliest of a round first.

    Example:
        >>> import unweave as uw
        >>> found = uw.find_rest(uw.GradientIndex.build(model, many, dimension=4096), seeds=[many[6], many[14]])
        >>> sorted(one.row.id for one in found if one.why.similarity == 1.0)
        ['m22', 'm30', 'm38', 'm46']

    Attributes:
        seeds: Ids of the given rows.
        proposals: What this is a sequence of.
        missed: How many there may be besides.
        weights: Signal to its weight in the first round.
        rounds: How many rounds were made.
        ended: Why there was no other.
        scores: Row id to the score of the last round, for all rows.
    """

    seeds: tuple[str, ...]
    proposals: tuple[Proposal, ...]
    missed: Missed
    weights: Mapping[str, float]
    rounds: int
    ended: str
    scores: Mapping[str, float] = field(repr=False)

    @property
    def rows(self) -> list[Row]:
        """The proposed rows."""
        return [one.row for one in self.proposals]

    def __len__(self) -> int:
        return len(self.proposals)

    @overload
    def __getitem__(self, index: int) -> Proposal: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Proposal, ...]: ...

    def __getitem__(self, index: int | slice) -> Proposal | tuple[Proposal, ...]:
        return self.proposals[index]

    def to_pandas(self) -> "pandas.DataFrame":
        """The proposals as a table.

        Returns:
            A line a proposal: id, score, level, p, round, seed, why, prompt, completion.

        Raises:
            MissingExtraError: When pandas is not installed.
        """
        return frame(
            {
                "id": [one.row.id for one in self],
                "score": [one.score for one in self],
                "level": [one.level for one in self],
                "p": [one.p for one in self],
                "round": [one.round for one in self],
                "seed": [one.why.seed for one in self],
                "why": [one.why.in_words() for one in self],
                "prompt": [one.row.prompt for one in self],
                "completion": [one.row.completion for one in self],
            }
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, without texts of rows."""
        return {
            "seeds": list(self.seeds),
            "proposals": [one.to_json() for one in self],
            "missed": {**self.missed.__dict__, "words": self.missed.in_words()},
            "weights": dict(self.weights),
            "rounds": self.rounds,
            "ended": self.ended,
        }
