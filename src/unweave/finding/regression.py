"""Which rows belong to some: a kernel ridge regression on a weighted sum of kernels, with every row left out of its own prediction.

The regression is that of signed weights (`unweave.weights.signed`). The kernels' weights are their alignments with the labels (Cristianini et al., NIPS
2001; Cortes, Mohri and Rostamizadeh, JMLR 13, 2012), the diagonal left out: a signal in which the rows have nothing in common counts nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from unweave.weights.signed import Regression, labels_of, regress

RIDGE = 1.0
"""As that of signed weights, in a kernel with a unit diagonal."""
BELOW = 0.15865525393145707
"""The share of a normal distribution that lies more than one standard deviation below its mean."""


@dataclass(frozen=True, eq=False)
class Fit(Regression):
    """A regression of "belongs" on rows, on a weighted sum of kernels.

    Attributes:
        weights: Of the kernels; they sum to 1.
    """

    weights: Float[np.ndarray, " s"]

    def duals_without(self, place: int) -> Float[np.ndarray, " m"]:
        """The duals of the same regression without one of its rows, in closed form.

        Args:
            place: The row.

        Returns:
            The duals; 0 of the row.
        """
        return self.duals - self.inverse[:, place] * (self.duals[place] / self.inverse[place, place])


def fit(grams: Float[np.ndarray, "s m m"], positive: Bool[np.ndarray, " m"], *, ridge: float = RIDGE) -> Fit:
    """Fit a regression.

    Args:
        grams: The kernels of the rows.
        positive: The rows that belong; one at least, and not all.
        ridge: Regularisation.

    Returns:
        The fit.
    """
    labels = labels_of(positive)
    weights = alignments(grams, labels)
    own = regress(np.tensordot(weights, grams, axes=1), labels, ridge=ridge)
    return Fit(own.predictions, own.duals, own.inverse, weights)


def alignments(grams: Float[np.ndarray, "s m m"], labels: Float[np.ndarray, " m"]) -> Float[np.ndarray, " s"]:
    """How much each kernel says of the labels: its inner product with their outer product, over its norm.

    Args:
        grams: The kernels.
        labels: One a row; they sum to 0.

    Returns:
        Weights that sum to 1, none below 0; equal ones where no kernel says anything.
    """
    apart = grams * (1 - np.eye(grams.shape[1]))
    norms = np.sqrt((apart**2).sum(axis=(1, 2)))
    along = np.einsum("i,sij,j->s", labels, apart, labels)
    found = np.maximum(0.0, np.divide(along, norms, out=np.zeros_like(along), where=norms > 0))
    return found / found.sum() if found.sum() > 0 else np.full(len(grams), 1 / len(grams))


@dataclass(frozen=True)
class Null:
    """How high rows score that have nothing to do with the rows that belong: a normal distribution (the empirical null of Efron, JASA 99, 2004).

    Attributes:
        center: Its mean.
        sigma: Its standard deviation; 0 where half of the rows score the same.
    """

    center: float
    sigma: float

    def p_values(self, scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The probability of as much or more.

        Args:
            scores: The scores.

        Returns:
            From 0 to 1; all 1 where there is no spread to hold them against.
        """
        from scipy.special import ndtr

        return ndtr((self.center - scores) / self.sigma) if self.sigma > 0 else np.ones(len(scores))


def empirical_null(scores: Float[np.ndarray, " n"]) -> Null:
    """The null distribution of scores of which most are of rows that have nothing to do with those that belong.

    Rows that do have something to do with them score high: so the center is the median, and the spread that of the lower half, which they hardly change.

    Args:
        scores: Of rows that are not said to belong.

    Returns:
        The distribution.
    """
    low, center = np.quantile(scores, [BELOW, 0.5])
    return Null(float(center), float(center - low))


def significant(p: Float[np.ndarray, " n"], *, rate: float) -> Bool[np.ndarray, " n"]:
    """Which of many hypotheses are rejected, at a false discovery rate (Benjamini and Hochberg 1995).

    Args:
        p: Their p-values.
        rate: The expected share of false ones among those rejected.

    Returns:
        A flag for each.
    """
    ordered = np.sort(p)
    good = np.flatnonzero(ordered <= rate * np.arange(1, len(p) + 1) / len(p))
    return p <= ordered[good[-1]] if len(good) else np.zeros(len(p), dtype=bool)


def random_places(count: int, candidates: Sequence[int], *, seed: int) -> list[int]:
    """Rows sampled without replacement.

    Args:
        count: How many, at most.
        candidates: From these.
        seed: Of the sample.

    Returns:
        Their places, in the order in which they were sampled.
    """
    order = np.random.default_rng(seed).permutation(len(candidates))
    return [candidates[place] for place in order[:count]]
