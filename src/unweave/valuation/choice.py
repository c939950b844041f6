"""Choosing rows under a budget: the best, the best that stand for all, or the best that lie apart."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Candidates:
    """What is chosen from, best values first.

    Attributes:
        values: Falling.
        costs: What each takes of the budget.
        texts: Exact copies count as one.
        vectors: Of length 1, for similarity; `None` where nothing asks for it.
    """

    values: Float[np.ndarray, " n"]
    costs: Float[np.ndarray, " n"]
    texts: Sequence[str]
    vectors: Float[np.ndarray, "n d"] | None


class Selection:
    """Rows chosen so far, within the budget and without duplicates.

    Args:
        candidates: What is chosen from.
        budget: What their costs may add up to.
        duplicates: Largest cosine that two chosen rows may have; 1 asks for no vectors.
    """

    def __init__(self, candidates: Candidates, *, budget: float, duplicates: float):
        self.candidates, self.budget, self.duplicates = candidates, budget, duplicates
        self.chosen: list[int] = []
        self.spent = 0.0
        self.copies = 0
        self._texts: set[str] = set()

    def offer(self, index: int) -> bool:
        """Take a row, where it fits.

        Args:
            index: Which.

        Returns:
            Whether it was taken.
        """
        own = self.candidates
        if self.spent + own.costs[index] > self.budget:
            return False
        text = " ".join(own.texts[index].split())
        nearest = -1.0
        if own.vectors is not None and self.duplicates < 1 and self.chosen:
            nearest = float((own.vectors[self.chosen] @ own.vectors[index]).max())
        if text in self._texts or nearest > self.duplicates:
            self.copies += 1
            return False
        self.chosen.append(index)
        self._texts.add(text)
        self.spent += float(own.costs[index])
        return True


def take_top(selection: Selection, diversity: float) -> None:
    """The largest values.

    Args:
        selection: Takes the rows.
        diversity: Without effect.
    """
    del diversity
    for index in range(len(selection.candidates.values)):
        selection.offer(index)


def take_facility(selection: Selection, diversity: float) -> None:
    """Greedy choice by (1 - diversity) value + diversity facility location, per cost; lazily, which gives the same rows (Minoux 1978).

    Facility location is the mean over all candidates of their largest similarity, from 0 up, to a chosen row (Mirzasoleiman et al., 2013). Values are scaled to
    [0, 1], and weigh as much as facility location when all are chosen.

    Args:
        selection: Takes the rows.
        diversity: Share of facility location.
    """
    own = selection.candidates
    assert own.vectors is not None, "facility location measures similarity"
    similar = np.clip(own.vectors @ own.vectors.T, 0.0, None)
    spread = float(np.ptp(own.values)) or 1.0
    worth = (own.values - own.values.min()) / spread
    worth = worth / max(worth.sum(), 1e-12)
    covered = np.zeros(len(own.values))

    def gain(index: int) -> float:
        stands = float(np.maximum(similar[index] - covered, 0.0).mean())
        return ((1 - diversity) * worth[index] + diversity * stands) / own.costs[index]

    heap = [(-gain(index), index, 0) for index in range(len(own.values))]
    heapq.heapify(heap)
    while heap:
        _, index, seen = heapq.heappop(heap)
        # Gains only fall as rows are chosen: one that was computed for these very rows is the largest there is.
        if seen < len(selection.chosen):
            heapq.heappush(heap, (-gain(index), index, len(selection.chosen)))
        elif selection.offer(index):
            covered = np.maximum(covered, similar[index])


def take_centers(selection: Selection, diversity: float) -> None:
    """Farthest-first choice (Gonzalez 1985; Sener and Savarese 2018), from the best row on.

    Args:
        selection: Takes the rows.
        diversity: Without effect.
    """
    del diversity
    own = selection.candidates
    assert own.vectors is not None, "distances need vectors"
    left = np.ones(len(own.values), dtype=bool)
    nearest = np.full(len(own.values), np.inf)
    index = 0
    while True:
        left[index] = False
        if selection.offer(index):
            nearest = np.minimum(nearest, 1.0 - own.vectors @ own.vectors[index])
        if not left.any():
            return
        index = int(np.argmax(np.where(left, nearest, -np.inf)))


STRATEGIES: dict[str, Callable[[Selection, float], None]] = {
    "top": take_top,
    "facility": take_facility,
    "k-center": take_centers,
}
"""Name to strategy; a new one is one function and one line here."""


def shares_of(values: Sequence[float], providers: Sequence[str], price: float | None) -> dict[str, dict[str, float]]:
    """What each provider's rows contribute.

    Args:
        values: Of the chosen rows.
        providers: Of each of them.
        price: What all cost together.

    Returns:
        Provider to its rows, their summed value, its share of the positive value, and with a price its payment and what that is for a row; the largest first.
    """
    total = sum(max(value, 0.0) for value in values)
    table: dict[str, dict[str, float]] = {}
    for value, provider in zip(values, providers, strict=True):
        own = table.setdefault(provider, {"rows": 0, "value": 0.0, "share": 0.0})
        own["rows"] += 1
        own["value"] += value
        own["share"] += max(value, 0.0) / total if total else 0.0
    if price is not None:
        for own in table.values():
            own["payment"] = price * own["share"]
            own["price_a_row"] = own["payment"] / own["rows"]
    return dict(sorted(table.items(), key=lambda item: -item[1]["share"]))
