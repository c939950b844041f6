"""What rows have in common, as vectors of length 1: the directions of their gradients, their words, and the names, numbers and dates that they state.

Each signal is a kernel, the inner products of such vectors, so that a regression on a weighted sum of kernels sees all of them, and its predictions split
into what each signal and each row adds.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from unweave.attribution.index import GradientIndex
from unweave.attribution.scan import scan
from unweave.data.forms import normal_form
from unweave.data.rows import Row
from unweave.evaluation.measures.facts import named_facts, names_in

WORD = re.compile(r"\w+(?:['-]\w+)*")
SMALL = 1e-9
"""Squared lengths below it are rounding, and of no direction."""


class Signal(ABC):
    """A kernel of all rows, which are named by their places."""

    @abstractmethod
    def cross(self, places: Sequence[int], base: Sequence[int]) -> Float[np.ndarray, "r m"]:
        """The kernel of some rows with others.

        Args:
            places: The rows.
            base: The others.

        Returns:
            Inner products; 1 of a row with itself, or 0 for a row without anything to compare.
        """

    @abstractmethod
    def project(self, base: Sequence[int], weights: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
        """The inner products of all rows with a weighted sum of some.

        Args:
            base: The rows of the sum.
            weights: Their weights.

        Returns:
            A number for each row.
        """


class Influence(Signal):
    """Directions of gradients: unit sketches less the mean over random rows, at unit length again.

    Gradients of all rows share a large part, such as that of the answer's form: without the mean it says nothing of a pair of rows.

    Args:
        index: The index.
        places: Rows for the mean, by their places in the index.
    """

    def __init__(self, index: GradientIndex, places: Sequence[int]):
        self.store, self.row_ids = index.store, index.row_ids
        self.mean = self._unit(places).mean(dim=0)
        self.square = float(self.mean.double() @ self.mean.double())
        shared = self._products(self.mean[None])[0]
        present = self._present()
        # |u - mean|^2 of each row, u its unit sketch; a row without a gradient has no direction.
        squared = np.where(present, 1 - 2 * shared + self.square, 0.0)
        self.lengths = np.sqrt(np.where(squared > SMALL, squared, np.inf))

    def cross(self, places: Sequence[int], base: Sequence[int]) -> Float[np.ndarray, "r m"]:
        """The kernel of some rows with others; see `Signal`."""
        other = self._centred(base)
        own = other if places is base else self._centred(places)
        return (own @ other.T).double().numpy()

    def project(self, base: Sequence[int], weights: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
        """The inner products of all rows with a weighted sum of some; see `Signal`."""
        total = torch.from_numpy(weights).float() @ self._centred(base)
        own = self._products(total[None])[0] - float(self.mean.double() @ total.double())
        return own / self.lengths

    def _centred(self, base: Sequence[int]) -> Float[Tensor, "m K"]:
        lengths = torch.from_numpy(self.lengths[list(base)]).float()
        return (self._unit(base) - self.mean) / lengths[:, None]

    def _unit(self, places: Sequence[int]) -> Float[Tensor, "m K"]:
        return torch.nn.functional.normalize(self.store.read([self.row_ids[place] for place in places]), dim=1)

    def _products(self, queries: Float[Tensor, "q K"]) -> Float[np.ndarray, "q n"]:
        """The inner products of all rows' unit sketches with vectors of any length."""
        lengths = queries.norm(dim=1, keepdim=True).double().numpy()
        found = [block.scores.double().numpy() for block in scan(self.store, queries, similarity="cosine")]
        return np.concatenate(found, axis=1) * lengths

    def _present(self) -> np.ndarray:
        return self.store.column("norms", self.row_ids).numpy() > 0


class Terms(Signal):
    """Terms in common: unit vectors of the logarithms of how rare each term of a row is (inverse document frequency).

    Args:
        rows: The terms of each row.
    """

    def __init__(self, rows: Sequence[Sequence[str]]):
        counts = Counter(term for terms in rows for term in set(terms))
        column = {term: place for place, term in enumerate(counts)}
        rare = {term: np.log(len(rows) / count) for term, count in counts.items()}
        lines = [sorted(set(terms)) for terms in rows]
        values = np.array([rare[term] for terms in lines for term in terms], dtype=np.float64)
        places = np.array([column[term] for terms in lines for term in terms], dtype=np.int64)
        ends = np.cumsum([0, *map(len, lines)])
        shape = (len(rows), max(1, len(column)))
        matrix = sparse.csr_matrix((values, places, ends), shape=shape)
        lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
        self.vectors = sparse.csr_matrix(
            sparse.diags(np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)) @ matrix
        )

    def cross(self, places: Sequence[int], base: Sequence[int]) -> Float[np.ndarray, "r m"]:
        """The kernel of some rows with others; see `Signal`."""
        return (self.vectors[list(places)] @ self.vectors[list(base)].T).toarray()

    def project(self, base: Sequence[int], weights: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
        """The inner products of all rows with a weighted sum of some; see `Signal`."""
        return self.vectors @ (self.vectors[list(base)].T @ weights)


def words_of(row: Row) -> list[str]:
    """The words of a row, prompt and answer, in their normal form.

    Args:
        row: The row.

    Returns:
        The words, in order; those of a system turn, which many rows share, are left out.
    """
    turns = [turn.content for turn in row.conversation if turn.role != "system"]
    return [word for text in turns for word in WORD.findall(normal_form(text))]


def facts_of(row: Row) -> list[str]:
    """What a row is about and states: the names in its prompt, and the names, numbers and dates of its answer.

    Args:
        row: The row.

    Returns:
        Each once, in its normal form.
    """
    found = [*names_in(row.prompt), *named_facts(row.prompt, row.completion)]
    return list(dict.fromkeys(map(normal_form, found)))


SIGNALS: Mapping[str, Callable[[GradientIndex, Sequence[Row], Sequence[int]], Signal]] = {
    "influence": lambda index, _, places: Influence(index, places),
    "words": lambda _, rows, __: Terms([words_of(row) for row in rows]),
    "facts": lambda _, rows, __: Terms([facts_of(row) for row in rows]),
}
"""Name to what makes the signal of an index, its rows, and the places of random ones; a new one is a line."""

OF_TEXT = "words", "facts"
"""Signals that look at no model."""
