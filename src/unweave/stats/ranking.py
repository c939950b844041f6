"""How well scores find the rows that matter: areas under the precision-recall and the ROC curve."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

TOP = 0.1
"""The share of rows that counts as best."""


def average_precision(relevant: Sequence[bool], scores: Sequence[float]) -> float:
    """auPRC as average precision: the mean, over relevant rows, of the precision at their rank; ties share their threshold.

    Args:
        relevant: Whether each row is one to be found.
        scores: Higher means found earlier.

    Returns:
        In [0, 1]; NaN when no row is relevant.
    """
    labels, ends = _ranked(relevant, scores)
    if not labels.any():
        return float("nan")
    found = np.cumsum(labels)[ends]
    gained = np.diff(found, prepend=0)
    return float((gained * found / (ends + 1)).sum() / labels.sum())


def roc_auc(relevant: Sequence[bool], scores: Sequence[float]) -> float:
    """auROC: the chance that a relevant row scores above another one, ties counting half.

    Args:
        relevant: Whether each row is one to be found.
        scores: Higher means found earlier.

    Returns:
        In [0, 1]; NaN when all rows are relevant, or none is.
    """
    labels, ends = _ranked(relevant, scores)
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    true = np.concatenate([[0], np.cumsum(labels)[ends]]) / positives
    false = np.concatenate([[0], np.cumsum(~labels)[ends]]) / negatives
    return float(np.trapezoid(true, false))


def precision_recall_curve(relevant: Sequence[bool], scores: Sequence[float]) -> tuple[list[float], list[float]]:
    """Recall and precision at every threshold, for a plot.

    Args:
        relevant: Whether each row is one to be found.
        scores: Higher means found earlier.

    Returns:
        Recalls, ascending, and the precision at each.
    """
    labels, ends = _ranked(relevant, scores)
    found = np.cumsum(labels)[ends]
    return (found / max(1, labels.sum())).tolist(), (found / (ends + 1)).tolist()


def _ranked(relevant: Sequence[bool], scores: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Labels by falling score, and the last position of each run of equal scores."""
    if len(relevant) != len(scores):
        raise ValueError(f"need one score a row, got {len(scores)} scores for {len(relevant)} rows")
    values = np.asarray(scores, dtype=float)
    order = np.argsort(-values, kind="stable")
    sorted_values = values[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_values)), len(values) - 1)
    return np.asarray(relevant, dtype=bool)[order], ends


def top_overlap(scores: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"], *, share: float = TOP) -> float:
    """How much of the truly best rows is among those that score best.

    Args:
        scores: Predictions.
        truth: Values.
        share: Which part counts as best.

    Returns:
        In [0, 1].
    """
    count = max(1, round(share * len(truth)))
    best = [set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (scores, truth)]
    return len(best[0] & best[1]) / count
