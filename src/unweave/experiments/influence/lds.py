"""The linear datamodelling score (LDS; Park et al. 2023) with an interval over both of its samples: the queries, and the retrained models.

Each model is asked all queries, so that queries share the luck of the models. An interval over queries alone, as if each had models of its own, covers
0.57 to 0.70 of a nominal 0.95 (docs/statistics.md).
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from unweave.stats.intervals import Estimate, crossed, rank_correlations


def datamodelling_score(predicted: Float[np.ndarray, "m q"], measured: Float[np.ndarray, "m q"]) -> Estimate:
    """The mean over queries of Spearman's correlation, over models, of predicted and measured.

    The interval is of two-way random effects on the jackknife's pseudo-values, one for each model and query: m r - (m - 1) r without the model.

    Args:
        predicted: Summed influence of the rows that each model was trained on, on each query.
        measured: The query's loss under the model, negated.

    Returns:
        The score; its interval is for other models and other queries, of the same training rows and the same influence.
    """
    models = len(predicted)
    whole = np.array(rank_correlations(predicted, measured))
    without = np.array(
        [
            rank_correlations(np.delete(predicted, model, axis=0), np.delete(measured, model, axis=0))
            for model in range(models)
        ]
    )
    found = crossed(models * whole - (models - 1) * without)
    value = float(whole.mean())
    shift = value - found.value
    return replace(found, value=value, low=found.low + shift, high=found.high + shift).within(-1, 1)
