"""Signed weights: influence decides which side a row is on.

Retain rows are often sampled from the training data as they come, more of what is to be forgotten among them. RapidUn's mapping lowers the weights of such
rows, but goes on learning from them, and that undoes the forgetting. What influence shows well is which rows taught the same thing. Here those change sides:
with a weight of -1 a method unlearns them too. The mapping is unweave's own.

The score of a row is the prediction of a kernel ridge regression of "is to be forgotten" on the four blocks of influence, scaled to cosines, each row left
out of its own prediction. A row changes sides where most of the rows that score so high surely belong: the forget rows' own scores say how often a row that
belongs reaches a bound, and the smallest ratio of how often retain rows do, over all bounds, how many of them can belong at most (Elkan and Noto, KDD 2008).
All other retain rows are weighted by RapidUn's mapping of the negative score.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from unweave.errors import ConfigError, DataError
from unweave.weights.blocks import Blocks
from unweave.weights.config import MappingConfig
from unweave.weights.mapping import scores_to_weights

LEAST_REACHED = 0.5
"""Bounds that fewer of the forget rows reach say too little."""


def signed_weights(blocks: Blocks, config: MappingConfig) -> tuple[list[float], list[float]]:
    """Forget weights of 1; retain weights of -1 for rows that belong to the forget rows, and of mean 1 for the others.

    Args:
        blocks: Influence of all rows on all rows.
        config: Ridge, precision, and the mapping of the rest.

    Returns:
        Forget and retain weights.

    Raises:
        ConfigError: When an option is out of range.
        DataError: When there are fewer than two rows of a kind, not every row is a query, or the influence of a row on itself is missing or not positive, as
            in lists that were cut.
    """
    if config.signed_ridge <= 0 or not 0 < config.signed_precision <= 1:
        raise ConfigError(
            f"A ridge of {config.signed_ridge:g} and a precision of {config.signed_precision:g} can't be.",
            where="`signed_ridge`, `signed_precision`",
            remedy="give a ridge above 0, and a precision above 0, up to 1",
        )
    n_forget, n_retain = blocks.n_forget, blocks.n_retain
    if min(n_forget, n_retain) < 2:
        raise DataError(
            f"{n_forget} forget and {n_retain} retain rows are too few for signed weights.",
            remedy="give two rows or more of each",
        )
    for kind, count, own in (
        ("forget", n_forget, (blocks.ff, blocks.rf)),
        ("retain", n_retain, (blocks.fr, blocks.rr)),
    ):
        if any(block.shape[0] != count for block in own):
            raise DataError(
                f"{count} {kind} rows and {' and '.join(str(block.shape[0]) for block in own)} queries of theirs: signed weights need every row as a query.",
                remedy="give the influence on queries that are these very rows, in their order; from a gradient store it is",
            )
    kernel = np.block([[blocks.ff.matrix(), blocks.rf.matrix()], [blocks.fr.matrix(), blocks.rr.matrix()]])
    scale = kernel.diagonal()
    if not (scale > 0).all():
        raise DataError(
            f"The influence of {int((scale <= 0).sum())} row(s) on themselves is missing or not positive.",
            remedy="give whole lists, or take the influence from a gradient store",
        )
    belongs = np.arange(n_forget + n_retain) < n_forget
    scores = regress(
        kernel / np.sqrt(np.outer(scale, scale)), labels_of(belongs), ridge=config.signed_ridge
    ).predictions
    own, others = scores[:n_forget], scores[n_forget:]
    leaving = belonging(own, others, precision=config.signed_precision)
    weights = np.full(n_retain, -1.0)
    if not leaving.all():
        rest = (-others[~leaving]).tolist()
        weights[~leaving] = scores_to_weights(rest, tau=config.tau_r, low=config.wmin_r, high=config.wmax_r)
    return [1.0] * n_forget, weights.tolist()


@dataclass(frozen=True, eq=False)
class Regression:
    """Kernel ridge regression, with every row left out of its own prediction.

    Attributes:
        predictions: For each row from all others, in closed form: y_i - (A y)_i / A_ii with A = (K + ridge I)^-1.
        duals: A y: what each row adds to a prediction, times its kernel with the predicted row.
        inverse: A.
    """

    predictions: Float[np.ndarray, " n"]
    duals: Float[np.ndarray, " n"]
    inverse: Float[np.ndarray, "n n"]


def labels_of(belongs: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Labels of rows: positive where they belong, negative elsewhere, with a sum of zero.

    Args:
        belongs: Which rows belong.

    Returns:
        The labels.
    """
    count, first = len(belongs), int(belongs.sum())
    return np.where(belongs, (count - first) / count, -first / count)


def regress(kernel: Float[np.ndarray, "n n"], labels: Float[np.ndarray, " n"], *, ridge: float) -> Regression:
    """Fit kernel ridge regression.

    Args:
        kernel: Symmetric up to rounding, positive semi-definite.
        labels: One a row.
        ridge: Regularisation.

    Returns:
        The regression.
    """
    inverse = np.linalg.inv((kernel + kernel.T) / 2 + ridge * np.eye(len(kernel)))
    duals = inverse @ labels
    return Regression(labels - duals / inverse.diagonal(), duals, inverse)


def belonging(
    labelled: Float[np.ndarray, " k"], others: Float[np.ndarray, " n"], *, precision: float
) -> Bool[np.ndarray, " n"]:
    """Which rows belong to the labelled ones, at an estimated precision: learning from positive and unlabelled examples.

    Args:
        labelled: Scores of rows that belong.
        others: Scores of rows of which some do.
        precision: Least share of rows that belong among those above the bound.

    Returns:
        A flag for each of the others.
    """
    bounds = np.unique(np.concatenate([labelled, others]))[::-1]
    reached = (labelled[None, :] >= bounds[:, None]).mean(axis=1)
    taken = (others[None, :] >= bounds[:, None]).mean(axis=1)
    usable = reached >= LEAST_REACHED
    ratios = taken[usable] / reached[usable]
    estimated = np.divide(
        ratios.min() * reached[usable], taken[usable], out=np.ones_like(ratios), where=taken[usable] > 0
    )
    good = np.flatnonzero(estimated >= precision)
    return others >= bounds[usable][good.max()] if len(good) else np.zeros(len(others), dtype=bool)
