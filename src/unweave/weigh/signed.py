"""Signed weights: influence decides which side a row is on.

RapidUn's mapping rewards forget rows that are like most others, so rare kinds of forget rows get the smallest weights, and within a handful of rows no weight
makes up for rows that are not known. What influence does tell well is which other rows taught the same thing. Retain rows are often drawn from the
training data as they come, with more of what is to be forgotten among them: learning from those undoes the forgetting. Here they change sides: a weight of
-1 has a method unlearn the row with the forget rows, all others have weight 1. This mapping is unweave's own.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from unweave.errors import ConfigError
from unweave.trace.rapidin_format import InfluenceEntry


def signed_weights(
    ff: Sequence[InfluenceEntry], rf: Sequence[InfluenceEntry], *, n_forget: int, n_retain: int, share: float
) -> tuple[list[float], list[float]]:
    """Forget weights of 1; retain weights of 1, or of -1 for rows that belong to the forget rows.

    A row's score is the median over the forget rows of their influence on it. The forget rows' own scores, each without its influence on itself, tell what
    belonging looks like: a retain row changes sides when it reaches their quantile `share`.

    Args:
        ff: Queries F on rows F.
        rf: Queries F on rows R.
        n_forget: Forget rows.
        n_retain: Retain rows.
        share: The quantile, in [0, 1]; about this share of the rows that belong is overlooked.

    Returns:
        Forget and retain weights.

    Raises:
        ConfigError: With fewer than two forget rows, which have nothing to be compared with, or a share out of range.
    """
    if n_forget < 2:
        raise ConfigError("Signed weights compare forget rows with each other.", remedy="give two or more")
    if not 0 <= share <= 1:
        raise ConfigError(f"{share} is no share.", where="--signed-share", remedy="give a number from 0 to 1")
    others = ~np.eye(n_forget, dtype=bool)
    by_row = _matrix(ff, n_forget).T[others].reshape(n_forget, n_forget - 1)
    bound = float(np.quantile(np.median(by_row, axis=1), share))
    scores = np.median(_matrix(rf, n_retain), axis=0)
    return [1.0] * n_forget, [-1.0 if score >= bound else 1.0 for score in scores.tolist()]


def _matrix(entries: Sequence[InfluenceEntry], rows: int) -> Float[np.ndarray, "q n"]:
    """Query to row to influence; rows that a query's lists do not name have 0."""
    table = np.zeros((len(entries), rows))
    for number, entry in enumerate(entries):
        for index, value in (*entry.harmful, *entry.helpful):
            if 0 <= index < rows:
                table[number, index] = value
    return table
