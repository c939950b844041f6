"""RapidUn's mapping from influence to per-sample weights (arXiv 2512.04457), to the last bit.

Everything is plain float64 in a fixed order, so that the same result files give the same weights as the authors' code on the same
interpreter: sums, exponentials and the medians of the scaling are the standard library's. Medians over queries are numpy's, as there.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from unweave.weights.blocks import Block, Blocks, Kind
from unweave.weights.config import MappingConfig

MAD_FLOOR = 1e-3
MAD_TO_SIGMA = 1.4826
SMALLEST = 1e-8


def rapidun_weights(blocks: Blocks, config: MappingConfig) -> tuple[list[float], list[float]]:
    """Forget and retain weights from the four influence blocks.

    S_f = alpha FF - beta FR and S_r = gamma RR - delta RF, each scaled by median and MAD, mapped by exp(z / tau) with clipping, and
    divided by their mean.

    Args:
        blocks: The influence.
        config: The mapping's options.

    Returns:
        Forget weights and retain weights, each with mean 1.
    """

    def score(block: Block, kind: Kind = "helpful") -> list[float]:
        return row_scores(block, kind=kind, config=config)

    forget = [
        config.alpha * own - config.beta * other for own, other in zip(score(blocks.ff), score(blocks.fr), strict=True)
    ]
    retain = [
        config.gamma * own - config.delta * other for own, other in zip(score(blocks.rr), score(blocks.rf), strict=True)
    ]
    if config.use_harmful:
        harm = zip(forget, score(blocks.ff, "harmful"), score(blocks.fr, "harmful"), strict=True)
        forget = [value - (config.alpha_harm * own + config.beta_harm * other) for value, own, other in harm]
        harm = zip(retain, score(blocks.rr, "harmful"), score(blocks.rf, "harmful"), strict=True)
        retain = [value - (config.gamma_harm * own + config.delta_harm * other) for value, own, other in harm]
    return (
        scores_to_weights(forget, tau=config.tau_f, low=config.wmin_f, high=config.wmax_f),
        scores_to_weights(retain, tau=config.tau_r, low=config.wmin_r, high=config.wmax_r),
    )


def row_scores(block: Block, *, kind: Kind, config: MappingConfig) -> list[float]:
    """The score of each row: the median over queries of what each query's list gives it, 0 where the row is not kept.

    Args:
        block: Influence; queries with an empty list do not count.
        kind: `helpful` or `harmful`.
        config: Truncation, ranks, scaling.

    Returns:
        One score a row.
    """
    scaled = config.per_test_robust and not config.rank
    rows = block.shape[1]
    table = np.zeros(block.shape)
    used = 0
    for indices, values in block.rankings(kind, in_order=scaled):
        if not len(values):
            continue
        own = np.array(robust_scale(values.tolist())) if scaled else values
        kept = _largest(own, config.topk)
        places = indices[kept]
        scores = np.arange(len(kept), 0.0, -1.0) if config.rank else own[kept]
        inside = places < rows
        # A row that a list names twice gets both values.
        np.add.at(table[used], places[inside], scores[inside])
        used += 1
    if not used:
        return [0.0] * rows
    return np.median(table[:used], axis=0, overwrite_input=True).tolist()


def _largest(values: Float[np.ndarray, " n"], count: int | None) -> Int[np.ndarray, " k"]:
    """Where the largest values are, from the largest on, equal ones in their order."""
    if count is None or count >= len(values):
        return np.argsort(-values, kind="stable")
    bound = np.partition(values, len(values) - count)[len(values) - count]
    candidates = np.flatnonzero(values >= bound)
    return candidates[np.argsort(-values[candidates], kind="stable")][:count]


def robust_scale(values: Sequence[float]) -> list[float]:
    """(x - median) / max(1.4826 MAD, 1e-3).

    Args:
        values: The values.

    Returns:
        The scaled values.
    """
    if not values:
        return []
    center = statistics.median(values)
    spread = max(statistics.median([abs(value - center) for value in values]) * MAD_TO_SIGMA, MAD_FLOOR)
    return [(value - center) / spread for value in values]


def scores_to_weights(scores: Sequence[float], *, tau: float, low: float, high: float) -> list[float]:
    """Exp of the scaled scores over tau, clipped in the logarithm, divided by the mean.

    Args:
        scores: One score a row; all equal gives weights of 1.
        tau: Temperature.
        low: Lower clip.
        high: Upper clip.

    Returns:
        Weights with mean 1.
    """
    scaled = robust_scale(scores) if len(set(scores)) > 1 else [0.0] * len(scores)
    bottom, top = math.log(max(low, SMALLEST)), math.log(max(high, SMALLEST))
    weights = [math.exp(min(max(value / max(tau, SMALLEST), bottom), top)) for value in scaled]
    return mean_one(weights)


def mean_one(weights: Sequence[float]) -> list[float]:
    """Weights divided by their mean.

    Args:
        weights: Weights; all zero stays as it is.

    Returns:
        Weights with mean 1.
    """
    mean = sum(weights) / max(len(weights), 1)
    return [weight / mean for weight in weights] if mean > 0 else list(weights)
