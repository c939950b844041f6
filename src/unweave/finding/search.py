"""The search for rows that belong to some: rounds of regression against random rows, and the reasons of each proposal."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unweave.attribution.index import GradientIndex
from unweave.attribution.overlap import find_overlap
from unweave.data.copies import find_copies
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.finding.missed import estimate_missed
from unweave.finding.regression import empirical_null, fit, random_places, significant
from unweave.finding.result import Found, Proposal, Why
from unweave.finding.signals import OF_TEXT, SIGNALS, Influence, Signal, facts_of
from unweave.weights.signed import belonging

NEAR_COPY = 0.8
"""Jaccard similarity from which on a row is proposed as a near-duplicate, whatever else is known of it."""
FEW = 5
"""Rows that belong, below which their own predictions don't say how high such rows lie."""
FEWEST = 8
"""Rows beside the given ones that a null distribution is made of, at least."""


@dataclass(frozen=True)
class Bounds:
    """How far the search goes.

    Attributes:
        rate: False discovery rate against rows that have nothing to do with the given ones.
        precision: Least share of rows that belong among those proposed, as estimated from the given rows' own scores.
        rounds: The most rounds.
        most: The most rows that are proposed.
        random_rows: Rows that the regression sees beside those that belong.
        seed: Of what is random.
    """

    rate: float = 0.05
    precision: float = 0.7
    rounds: int = 5
    most: int | None = None
    random_rows: int = 512
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Scored:
    """One round's scores.

    Attributes:
        scores: The prediction of each row, from all others.
        levels: Share of the other rows that score lower than each.
        p: Probability of such a score among rows that have nothing to do with those that belong.
        accepted: The rows that are proposed: significant, and as high as rows that belong.
        weights: Signal to its weight.
        base: The rows that the regression saw.
        duals: For a row, what each of these adds, times its kernel with it.
    """

    scores: Float[np.ndarray, " n"]
    levels: Float[np.ndarray, " n"]
    p: Float[np.ndarray, " n"]
    accepted: Bool[np.ndarray, " n"]
    weights: Mapping[str, float]
    base: list[int]
    duals: Callable[[int], Float[np.ndarray, " m"]]


class Search:
    """A search among the rows of an index.

    Args:
        index: The index.
        signals: Names of the signals.
        bounds: How far it goes.
    """

    def __init__(self, index: GradientIndex, signals: Sequence[str], bounds: Bounds):
        self.index, self.bounds = index, bounds
        self.rows = index.rows
        self.place = {row.id: place for place, row in enumerate(self.rows)}
        shown = random_places(bounds.random_rows, range(len(self.rows)), seed=bounds.seed)
        self.signals: dict[str, Signal] = {name: SIGNALS[name](index, self.rows, shown) for name in signals}

    def places_of(self, seeds: Any) -> list[int]:
        """The places of the given rows.

        Args:
            seeds: Rows, or ids.

        Returns:
            Each once, in order.

        Raises:
            DataError: When there is none, one is not among the rows, or hardly any row is left beside them.
        """
        given = [seeds] if isinstance(seeds, str | Row) else list(seeds)
        ids = list(dict.fromkeys(one if isinstance(one, str) else one.id for one in given))
        if not ids:
            raise DataError("There is no row to begin with.", where="`seeds`", remedy="give one at least")
        if odd := next((row_id for row_id in ids if row_id not in self.place), None):
            raise DataError(f"The row '{odd}' is not among the rows.", where="`seeds`", remedy="give rows of the index")
        if len(self.rows) - len(ids) < FEWEST:
            raise DataError(
                f"Only {len(self.rows) - len(ids)} rows are left beside the given ones.",
                where="`seeds`",
                remedy=f"give fewer: {FEWEST} others are needed to hold them against",
            )
        return [self.place[row_id] for row_id in ids]

    def run(self, seeds: Sequence[int], *, advance: Callable[[int], None] = lambda _: None) -> Found:
        """Search.

        Args:
            seeds: Places of the given rows.
            advance: Called with 1 after each round.

        Returns:
            What was found.
        """
        most = (len(self.rows) - len(seeds)) // 2 if self.bounds.most is None else self.bounds.most
        positive, found = list(seeds), [*self._copies(seeds)][:most]
        positive += [self.place[one.row.id] for one in found]
        weights: Mapping[str, float] = {}
        scored = None
        ended, done = "as many rounds as were asked for", 0
        for done in range(1, self.bounds.rounds + 1):
            scored = self.score(positive, self.signals)
            weights = weights or scored.weights
            new = [int(place) for place in np.argsort(-scored.scores, kind="stable") if scored.accepted[place]]
            room = most - len(found)
            found += self._proposals(new[:room], scored, positive, done)
            positive += new[:room]
            fresh = [*self._copies(positive)][: most - len(found)] if new else []
            found += [replace(one, round=done) for one in fresh]
            positive += [self.place[one.row.id] for one in fresh]
            advance(1)
            if not new:
                ended = "nothing new stands out"
                break
            if len(found) >= most:
                ended = f"as many rows as may be proposed: {most}"
                break
        assert scored is not None, "there is a first round"
        return Found(
            seeds=tuple(self.rows[place].id for place in seeds),
            proposals=tuple(found),
            missed=estimate_missed(
                *self._caught(seeds), found=len(found), most=len(self.rows) - len(seeds) - len(found)
            ),
            weights=weights,
            rounds=done,
            ended=ended,
            scores={row.id: float(score) for row, score in zip(self.rows, scored.scores, strict=True)},
        )

    def score(self, positive: Sequence[int], signals: Mapping[str, Signal]) -> Scored:
        """Score all rows by how much they belong to some, and hold the scores against random rows.

        Args:
            positive: The rows that belong.
            signals: What to look at.

        Returns:
            The scores.
        """
        bounds = self.bounds
        given = set(positive)
        others = [place for place in range(len(self.rows)) if place not in given]
        pool = random_places(bounds.random_rows, others, seed=bounds.seed)
        shown = random_places(bounds.random_rows, positive, seed=bounds.seed)
        base = [*shown, *pool]
        grams = np.stack([signal.cross(base, base) for signal in signals.values()])
        fitted = fit(grams, np.arange(len(base)) < len(shown))
        scores = self._projected(signals, fitted.weights, base, fitted.duals)
        scores[base] = fitted.predictions
        null = empirical_null(scores[others])
        p = null.p_values(scores)
        accepted = np.zeros(len(scores), dtype=bool)
        accepted[others] = significant(p[others], rate=bounds.rate)
        if len(positive) >= FEW:
            own = scores[list(positive)]
            accepted[others] &= belonging(own, scores[others], precision=bounds.precision)
        levels = np.searchsorted(np.sort(scores[others]), scores, side="left") / len(others)
        inside = {place: index for index, place in enumerate(base)}

        def duals(place: int) -> Float[np.ndarray, " m"]:
            return fitted.duals_without(inside[place]) if place in inside else fitted.duals

        weights = dict(zip(signals, fitted.weights.tolist(), strict=True))
        return Scored(scores, levels, p, accepted, weights, base, duals)

    def _projected(
        self,
        signals: Mapping[str, Signal],
        weights: Float[np.ndarray, " s"],
        base: Sequence[int],
        duals: Float[np.ndarray, " m"],
    ) -> Float[np.ndarray, " n"]:
        parts = [
            weight * signal.project(base, duals)
            for signal, weight in zip(signals.values(), weights, strict=True)
            if weight > 0
        ]
        return np.sum(parts, axis=0)

    def _proposals(self, places: Sequence[int], scored: Scored, positive: Sequence[int], done: int) -> list[Proposal]:
        """Rows with their reasons: what each signal and each given row adds to their predictions."""
        given = set(positive)
        seeds = [index for index, base in enumerate(scored.base) if base in given]
        kernels = {
            name: scored.weights[name] * signal.cross(places, scored.base)
            for name, signal in (self.signals.items() if places else ())
        }
        found = []
        for line, place in enumerate(places):
            duals = scored.duals(place)
            shares = {name: float(kernel[line] @ duals) for name, kernel in kernels.items()}
            added = np.sum([kernel[line] for kernel in kernels.values()], axis=0) * duals
            seed = scored.base[max(seeds, key=lambda index: added[index])]
            score, level, p = (float(own[place]) for own in (scored.scores, scored.levels, scored.p))
            why = self._why(place, seed, shares=shares, similarity=None)
            found.append(Proposal(self.rows[place], score, level, p, done, why))
        return found

    def _copies(self, seeds: Sequence[int]) -> list[Proposal]:
        """Near-duplicates of rows that belong."""
        chosen = [self.rows[place] for place in seeds]
        return [
            Proposal(
                self.rows[self.place[copy.row_id]], 1.0, 1.0, 0.0, 1,
                self._why(self.place[copy.row_id], self.place[copy.of], shares={}, similarity=copy.similarity),
            )
            for copy in find_copies(chosen, self.rows, similarity=NEAR_COPY)
        ]  # fmt: skip

    def _why(self, place: int, seed: int, *, shares: Mapping[str, float], similarity: float | None) -> Why:
        row, other = self.rows[place], self.rows[seed]
        signal = self.signals.get("influence")
        has = set(facts_of(other))
        return Why(
            seed=other.id,
            shares=shares,
            influence=float(signal.cross([place], [seed])[0, 0]) if isinstance(signal, Influence) else None,
            similarity=similarity,
            run=find_overlap(other.completion, row.prompt, row.completion).run,
            facts=tuple(fact for fact in facts_of(row) if fact in has),
        )

    def _caught(self, seeds: Sequence[int]) -> tuple[Collection[str], Collection[str]]:
        """What gradients alone and texts alone find from the given rows, in one round each."""
        sides = [
            {name: own for name, own in self.signals.items() if (name in OF_TEXT) == of_text}
            for of_text in (False, True)
        ]
        if not all(sides):
            return [], []
        found = [self.score(seeds, side).accepted for side in sides]
        one, other = ({self.rows[place].id for place in np.flatnonzero(own)} for own in found)
        return one, other
