"""Membership inference: scores that are higher for rows which the model was trained on, and what their areas under the ROC curve say.

Each score is of one row under one model; the attack's strength is the area under the ROC curve between rows that were trained on and like rows that
were not: at 0.5 the score says nothing, at 1 all. The rows not trained on must be of the same kind, or the area measures the difference in kind (Duan et al.,
arXiv 2402.07841).
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unweave.stats.intervals import auc_interval
from unweave.stats.ranking import roc_auc

MIN_K = 0.2
"""As in Min-K%'s and Min-K%++'s own papers."""

PRIVLEAK_SHARE = 0.4
"""Of the tokens, in the attack that PrivLeak goes by: MUSE and open-unlearning use Min-40 %."""


def loss_score(losses: Sequence[float]) -> float:
    """-l(z): a row with a small loss looks like a training row (Yeom et al., arXiv 1709.01604).

    Args:
        losses: Of the answer's tokens, in nats.

    Returns:
        The score.
    """
    return -float(np.mean(losses))


def zlib_score(losses: Sequence[float], text: str) -> float:
    """The loss over the bytes to which zlib compresses the text, negated (Carlini et al., arXiv 2012.07805): simple texts are easy anyway.

    Args:
        losses: Of the answer's tokens.
        text: The answer.

    Returns:
        The score.
    """
    return -float(np.mean(losses)) / len(zlib.compress(text.encode("utf-8")))


def reference_score(losses: Sequence[float], reference: Sequence[float]) -> float:
    """How much smaller the loss is than under a model that never saw the row (Carlini et al., arXiv 2012.07805; Mireshghallah et al. 2022).

    Args:
        losses: Of the answer's tokens.
        reference: The same under the reference model, such as the base without its adapter.

    Returns:
        The score.
    """
    return float(np.mean(reference)) - float(np.mean(losses))


def min_k_score(losses: Sequence[float], *, share: float = MIN_K) -> float:
    """Mean log-probability of the least likely tokens (Min-K%, Shi et al., arXiv 2310.16789).

    Args:
        losses: Of the answer's tokens.
        share: Of the tokens that count, at least one.

    Returns:
        The score.
    """
    return _lowest_mean([-loss for loss in losses], share)


def min_k_plus_plus_score(
    losses: Sequence[float], means: Sequence[float], deviations: Sequence[float], *, share: float = MIN_K
) -> float:
    """Min-K%++ (Zhang et al., arXiv 2404.02936): each log-probability standardised by those of all tokens at its place.

    Args:
        losses: Of the answer's tokens.
        means: At each token, the mean of log p(v) over v sampled from p.
        deviations: Its standard deviation; 0 where the model is certain, which standardises to 0.
        share: Of the tokens that count, at least one.

    Returns:
        The score.
    """
    values = [
        (-loss - center) / spread if spread > 0 else 0.0
        for loss, center, spread in zip(losses, means, deviations, strict=True)
    ]
    return _lowest_mean(values, share)


def gradnorm_score(norm: float) -> float:
    """A row with a small gradient looks like a training row (Wang et al., arXiv 2402.17012, and Nasr et al., arXiv 1812.00910).

    Args:
        norm: Of the row's loss gradient.

    Returns:
        The score, -norm.
    """
    return -norm


def _lowest_mean(values: Sequence[float], share: float) -> float:
    if not 0 < share <= 1:
        raise ValueError(f"a share lies in (0, 1], got {share}")
    lowest = sorted(values)[: max(1, int(len(values) * share))]
    return float(np.mean(lowest))


@dataclass(frozen=True)
class Membership:
    """The strength of one attack.

    Attributes:
        area: Under the ROC curve.
        low: Lower end of its 95 % interval.
        high: Upper end.
        members: Rows that were trained on.
        others: Rows that were not.
    """

    area: float
    low: float
    high: float
    members: int
    others: int

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"auc": self.area, "interval": [self.low, self.high], "members": self.members, "others": self.others}

    def agrees_with(self, other: "Membership") -> bool:
        """Whether two areas could be the same: their gap is within the joined half widths of their intervals, as if they were independent.

        Args:
            other: The other area. Of the same rows the two go together, so the test is on the safe side.

        Returns:
            True where no difference is shown.
        """
        lower, upper = (self, other) if self.area <= other.area else (other, self)
        return upper.area - lower.area <= math.hypot(lower.high - lower.area, upper.area - upper.low)


def membership(members: Sequence[float], others: Sequence[float]) -> Membership:
    """How well a score separates training rows from others.

    Args:
        members: Scores of rows that were trained on.
        others: Scores of like rows that were not.

    Returns:
        The area with its interval.
    """
    area = roc_auc([True] * len(members) + [False] * len(others), [*members, *others])
    low, high = auc_interval(area, len(members), len(others))
    return Membership(area, low, high, len(members), len(others))


def privleak(unlearned: float, retrained: float) -> float:
    """PrivLeak of MUSE (arXiv 2407.06460, equation 2), in percent.

    MUSE counts areas the other way round, hence 1 - area here: the sign is theirs. Near 0 the unlearned model gives away as much as the retrained one;
    far below, the rows still look trained on (under-forgotten); far above, they look stranger than rows never seen (over-forgotten).

    Args:
        unlearned: Area of Min-40 % on the unlearned model.
        retrained: The same on the model retrained without the rows.

    Returns:
        Percent; infinite where the retrained model's area is 1.
    """
    reference = 1 - retrained
    if reference == 0:
        return 0.0 if unlearned == 1 else math.inf
    return 100 * ((1 - unlearned) - reference) / reference
