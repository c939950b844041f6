"""What a student is beside its weights, and how its scores become values."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Calibration:
    """How a task's raw scores become values, and how far they can be trusted.

    Attributes:
        scores: Raw scores, ascending.
        values: The value at each; between them the map is linear, outside it is flat.
        half_widths: Coverage to the half width of an interval around a predicted value, from rows that neither training nor the map has seen
            (split conformal prediction).
    """

    scores: list[float]
    values: list[float]
    half_widths: dict[str, float]

    def __call__(self, scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Values of raw scores."""
        return np.interp(scores, self.scores, self.values)


@dataclass(frozen=True)
class StudentSpec:
    """What a student is, beside its weights.

    Attributes:
        backbone: Name of the model that it began as.
        pooling: `mean` over tokens, for sentence encoders; `last` token, for causal models; `answer`: the mean over the answer's tokens, and the last one.
        tasks: Names of the values that it predicts.
        max_length: Tokens of a text that are read.
        calibration: Task to its calibration; empty before fitting.
        metrics: What fitting found on held-out rows.
        fitted_on: Rows.
        kernel: Whether the backbone is as it was, and the head a kernel regression.
    """

    backbone: str
    pooling: str
    tasks: tuple[str, ...]
    max_length: int
    calibration: dict[str, Calibration] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    fitted_on: int = 0
    kernel: bool = False
