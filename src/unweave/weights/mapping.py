"""RapidUn's mapping from influence to per-sample weights (arXiv 2512.04457), to the last bit.

Everything is plain float64 in a fixed order, so that the same result files give the same weights as the authors' code on the same
interpreter. Sums and medians are the standard library's and numpy's, as there.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from unweave.attribution.formats.rapidin import InfluenceEntry
from unweave.weights.config import MappingConfig

MAD_FLOOR = 1e-3
MAD_TO_SIGMA = 1.4826
SMALLEST = 1e-8


def rapidun_weights(
    ff: Sequence[InfluenceEntry],
    fr: Sequence[InfluenceEntry],
    rf: Sequence[InfluenceEntry],
    rr: Sequence[InfluenceEntry],
    *,
    n_forget: int,
    n_retain: int,
    config: MappingConfig,
) -> tuple[list[float], list[float]]:
    """Forget and retain weights from the four influence blocks.

    S_f = alpha FF - beta FR and S_r = gamma RR - delta RF, each scaled by median and MAD, mapped by exp(z / tau) with clipping, and
    divided by their mean.

    Args:
        ff: Queries F on rows F.
        fr: Queries R on rows F.
        rf: Queries F on rows R.
        rr: Queries R on rows R.
        n_forget: Forget rows.
        n_retain: Retain rows.
        config: The mapping's options.

    Returns:
        Forget weights and retain weights, each with mean 1.
    """

    def block(entries: Sequence[InfluenceEntry], rows: int, kind: str = "helpful") -> list[float]:
        return row_scores(entries, rows, kind=kind, config=config)

    forget = [
        config.alpha * own - config.beta * other
        for own, other in zip(block(ff, n_forget), block(fr, n_forget), strict=True)
    ]
    retain = [
        config.gamma * own - config.delta * other
        for own, other in zip(block(rr, n_retain), block(rf, n_retain), strict=True)
    ]
    if config.use_harmful:
        harm = zip(forget, block(ff, n_forget, "harmful"), block(fr, n_forget, "harmful"), strict=True)
        forget = [score - (config.alpha_harm * own + config.beta_harm * other) for score, own, other in harm]
        harm = zip(retain, block(rr, n_retain, "harmful"), block(rf, n_retain, "harmful"), strict=True)
        retain = [score - (config.gamma_harm * own + config.delta_harm * other) for score, own, other in harm]
    return (
        scores_to_weights(forget, tau=config.tau_f, low=config.wmin_f, high=config.wmax_f),
        scores_to_weights(retain, tau=config.tau_r, low=config.wmin_r, high=config.wmax_r),
    )


def row_scores(entries: Sequence[InfluenceEntry], rows: int, *, kind: str, config: MappingConfig) -> list[float]:
    """The score of each row: the median over queries of what each query's list gives it, 0 where the row is not kept.

    Args:
        entries: One list a query; queries with an empty list do not count.
        rows: Number of rows; indices outside are ignored.
        kind: `helpful` or `harmful`.
        config: Truncation, ranks, scaling.

    Returns:
        One score a row.
    """
    table: list[list[float]] = []
    for entry in entries:
        pairs = list(getattr(entry, kind))
        if not pairs:
            continue
        if config.per_test_robust and not config.rank:
            scaled = robust_scale([value for _, value in pairs])
            pairs = [(index, value) for (index, _), value in zip(pairs, scaled, strict=True)]
        pairs.sort(key=lambda pair: pair[1], reverse=True)
        if config.topk is not None:
            pairs = pairs[: config.topk]
        scores = [0.0] * rows
        for place, (index, value) in enumerate(pairs):
            if 0 <= index < rows:
                scores[index] += float(len(pairs) - place) if config.rank else value
        table.append(scores)
    if not table:
        return [0.0] * rows
    return np.median(np.array(table, dtype=float), axis=0).tolist()


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
