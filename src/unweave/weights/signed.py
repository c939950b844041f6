"""Signed weights: influence decides which side a row is on.

Retain rows are often drawn from the training data as they come, more of what is to be forgotten among them. RapidUn's mapping lowers the weights of such rows,
but goes on learning from them, and that undoes the forgetting. What influence tells well is which rows taught the same thing. Here those change sides: with a
weight of -1 a method unlearns them too. The mapping is unweave's own.

The score of a row is the prediction of a kernel ridge regression of "is to be forgotten" on the four blocks of influence, scaled to cosines, each row left
out of its own prediction. A row changes sides where most of the rows that score so high surely belong: the forget rows' own scores say how often a row that
belongs reaches a bound, and the smallest ratio of how often retain rows do, over all bounds, how many of them can belong at most (Elkan and Noto, KDD 2008).
All other retain rows are weighted by RapidUn's mapping of the negative score.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from unweave.attribution.formats.rapidin import InfluenceEntry
from unweave.errors import ConfigError, DataError
from unweave.weights.blocks import Blocks
from unweave.weights.config import MappingConfig
from unweave.weights.mapping import scores_to_weights

LEAST_REACHED = 0.5
"""Bounds that fewer of the forget rows reach say too little."""


def signed_weights(
    blocks: Blocks, *, n_forget: int, n_retain: int, config: MappingConfig
) -> tuple[list[float], list[float]]:
    """Forget weights of 1; retain weights of -1 for rows that belong to the forget rows, and of mean 1 for the others.

    Args:
        blocks: Influence of all rows on all rows.
        n_forget: Forget rows.
        n_retain: Retain rows.
        config: Ridge, precision, and the mapping of the rest.

    Returns:
        Forget and retain weights.

    Raises:
        ConfigError: When an option is out of range, or there are fewer than two rows of a kind.
        DataError: When the influence of a row on itself is missing or not positive, as in lists that were cut, or not every row is a query.
    """
    if min(n_forget, n_retain) < 2 or config.signed_ridge <= 0 or not 0 < config.signed_precision <= 1:
        raise ConfigError(
            f"{n_forget} forget and {n_retain} retain rows with ridge {config.signed_ridge:g} and precision {config.signed_precision:g} can't be told apart.",
            where="--signed-ridge, --signed-precision",
            remedy="give two rows or more of each, a positive ridge, and a precision from 0 to 1",
        )
    for kind, count, lists in (
        ("forget", n_forget, (blocks.ff, blocks.rf)),
        ("retain", n_retain, (blocks.fr, blocks.rr)),
    ):
        if any(len(entries) != count for entries in lists):
            raise DataError(
                f"{count} {kind} rows and {' and '.join(str(len(entries)) for entries in lists)} queries of theirs: signed weights need a list for each row.",
                remedy="give the influence files of queries that are these very rows, or --store",
            )
    kernel = np.block(
        [
            [_matrix(blocks.ff, n_forget), _matrix(blocks.rf, n_retain)],
            [_matrix(blocks.fr, n_forget), _matrix(blocks.rr, n_retain)],
        ]
    )
    scale = kernel.diagonal()
    if not (scale > 0).all():
        raise DataError(
            f"The influence of {int((scale <= 0).sum())} row(s) on themselves is missing or not positive.",
            remedy="give whole lists, or --store",
        )
    scores = left_out_predictions(kernel / np.sqrt(np.outer(scale, scale)), n_forget, ridge=config.signed_ridge)
    own, others = scores[:n_forget], scores[n_forget:]
    leaving = belonging(own, others, precision=config.signed_precision)
    weights = np.full(n_retain, -1.0)
    if not leaving.all():
        rest = (-others[~leaving]).tolist()
        weights[~leaving] = scores_to_weights(rest, tau=config.tau_r, low=config.wmin_r, high=config.wmax_r)
    return [1.0] * n_forget, weights.tolist()


def left_out_predictions(kernel: Float[np.ndarray, "n n"], n_first: int, *, ridge: float) -> Float[np.ndarray, " n"]:
    """Kernel ridge regression's prediction for each row from all others, in closed form: y_i - (A y)_i / A_ii with A = (K + ridge I)^-1.

    Args:
        kernel: Symmetric up to rounding, positive semi-definite.
        n_first: The first so many rows have a positive label, the others a negative one; labels sum to zero.
        ridge: Regularisation.

    Returns:
        The predictions.
    """
    count = len(kernel)
    labels = np.where(np.arange(count) < n_first, (count - n_first) / count, -n_first / count)
    inverse = np.linalg.inv((kernel + kernel.T) / 2 + ridge * np.eye(count))
    return labels - inverse @ labels / inverse.diagonal()


def belonging(
    known: Float[np.ndarray, " k"], others: Float[np.ndarray, " n"], *, precision: float
) -> Bool[np.ndarray, " n"]:
    """Which rows belong to the known ones, at an estimated precision.

    Args:
        known: Scores of rows that belong.
        others: Scores of rows of which some do.
        precision: Least share of rows that belong among those above the bound.

    Returns:
        A flag for each of the others.
    """
    bounds = np.unique(np.concatenate([known, others]))[::-1]
    reached = (known[None, :] >= bounds[:, None]).mean(axis=1)
    taken = (others[None, :] >= bounds[:, None]).mean(axis=1)
    usable = reached >= LEAST_REACHED
    ratios = taken[usable] / reached[usable]
    estimated = np.divide(
        ratios.min() * reached[usable], taken[usable], out=np.ones_like(ratios), where=taken[usable] > 0
    )
    good = np.flatnonzero(estimated >= precision)
    return others >= bounds[usable][good.max()] if len(good) else np.zeros(len(others), dtype=bool)


def _matrix(entries: Sequence[InfluenceEntry], rows: int) -> Float[np.ndarray, "q n"]:
    """Query to row to influence; rows that a query's lists do not name have 0."""
    table = np.zeros((len(entries), rows))
    for number, entry in enumerate(entries):
        for index, value in (*entry.harmful, *entry.helpful):
            if 0 <= index < rows:
                table[number, index] = value
    return table
