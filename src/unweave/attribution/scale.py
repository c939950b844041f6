"""How large an influence is, against that of all rows: level, robust deviations, and whether anything stands out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

SAMPLE = 4096
SIGMA = 1.482602218505602
"""What makes the median absolute deviation of a normal distribution its standard deviation: 1 / Φ⁻¹(3/4)."""
GROUP = 10
TAIL = 200
LEAST_TAIL = 20
ALPHA = 0.05
FEW = 400
"""Rows below which the test has too little power for its silence to mean anything."""


@dataclass(frozen=True, eq=False)
class Scale:
    """The influence of all rows on one answer, or of a sample of them, as what the influence of one row is held against.

    Attributes:
        rows: Rows of the store.
        scores: The influence of each, or of a sample of them; sorted.
        top: The largest influences of all rows by the scan, the largest first; empty where an approximate index did not look at all rows.
        median: Of `scores`.
        sigma: 1.4826 times the median absolute deviation of `scores` from their median: the standard deviation, if they were normal.
    """

    rows: int
    scores: Float[Tensor, " s"] = field(repr=False)
    top: tuple[float, ...] = field(repr=False)
    median: float = field(init=False)
    sigma: float = field(init=False)

    def __post_init__(self) -> None:
        values = self.scores.double().sort().values
        object.__setattr__(self, "scores", values)
        center = float(np.median(values.numpy())) if len(values) else float("nan")
        spread = float(np.median(np.abs(values.numpy() - center))) if len(values) else float("nan")
        object.__setattr__(self, "median", center)
        object.__setattr__(self, "sigma", SIGMA * spread)

    @property
    def is_sample(self) -> bool:
        """Whether `scores` are those of a sample of the rows."""
        return len(self.scores) < self.rows

    def level(self, influence: float) -> float:
        """The share of rows whose influence is below one, from 0 to 1.

        Args:
            influence: The influence.

        Returns:
            The share.
        """
        # In the numbers that scores are compared in everywhere: float32.
        value = torch.tensor(influence, dtype=torch.float32).double()
        return float((self.scores < value).double().mean())

    def deviations(self, influence: float) -> float | None:
        """(influence - median) / (1.4826 MAD): how many robust standard deviations an influence lies above all rows.

        Args:
            influence: The influence.

        Returns:
            The number; `None` where half of the rows have the same influence, so that there is no scale.
        """
        return (influence - self.median) / self.sigma if self.sigma > 0 else None

    def apart(self) -> int | None:
        """How many of the best rows lie above the gap that the test of `stands_out` finds.

        Returns:
            0 where it finds none; `None` where it can't be said.
        """
        found = self.stands_out()
        if not found:
            return None if found is None else 0
        above = np.asarray(self.top[: GROUP + 1]) - self.median
        return 1 + int((np.arange(1, len(above)) * np.log(above[:-1] / above[1:])).argmax())

    def stands_out(self) -> bool | None:
        """Whether the best rows stand apart from the tail of all rows, by a test of gaps at 5 percent.

        With y_1 >= y_2 >= ... the influences above the median, E_i = i log(y_i / y_{i+1}) are independent and exponential with one mean where the tail is
        a power law (Rényi's representation, which Hill's estimator rests on). The largest of E_1 ... E_10 is held against the mean of the next
        m = n / 20, at least 20 and at most 200: under that tail a ratio has the F distribution with 2 and 2 m degrees of freedom, and
        P(ratio > t) = (1 + t / m)^-m; it stands out below 0.05 / 10 (Bonferroni). Lighter tails, the normal one too, have smaller gaps further out, so
        that the test errs on the side of silence. One row stands out, or a group of up to ten; more alike rows are a bulk of their own.

        By simulation (docs/tracing.md) it fires without a cause in fewer than 5 percent of normal scores and of Student's t with 5 or 3 degrees of freedom. In
        a tail as heavy as Student's it hardly finds single rows: such a tail has them anyway. It is a heuristic where rows are not independent: copies of
        rows have gaps of their own and raise the false alarms.

        Returns:
            True or false; `None` where that can't be said: fewer than 62 rows, or fewer than 400 and no gap found, which would mean little there; a tail
            without positive gaps; or rows that no scan looked at.
        """
        length = max(LEAST_TAIL, min(TAIL, self.rows // 20))
        if self.rows < 2 * (GROUP + length + 1) or len(self.top) < GROUP + length + 1:
            return None
        above = np.asarray(self.top[: GROUP + length + 1]) - self.median
        if above[-1] <= 0:
            return None
        gaps = np.arange(1, len(above)) * np.log(above[:-1] / above[1:])
        mean = gaps[GROUP:].mean()
        if mean <= 0:
            return None
        ratio = float(gaps[:GROUP].max() / mean)
        found = (1 + ratio / length) ** -length < ALPHA / GROUP
        return True if found else False if self.rows >= FEW else None


TOP = GROUP + TAIL + 1
"""How many of the largest influences the test needs at most."""


def sample_places(rows: int) -> Int[Tensor, " s"]:
    """The places of the rows whose scores are kept where not all are: always the same ones.

    Args:
        rows: Rows of the store.

    Returns:
        All places up to 4,096 rows, above that as many, sampled without replacement; sorted.
    """
    if rows <= SAMPLE:
        return torch.arange(rows)
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:SAMPLE].sort().values


def make_scale(
    rows: int,
    row_ids: Sequence[str],
    scores: Float[Tensor, " s"],
    exact: Mapping[str, float],
    top: Sequence[float] | None = None,
) -> Scale:
    """The scale of one answer.

    Args:
        rows: Rows of the store.
        row_ids: Those whose scores are given.
        scores: Their influence by the scan.
        exact: Row id to the exact influence of rows that were scored again: it counts instead.
        top: The largest influences of all rows, the largest first; by default those of `scores`.

    Returns:
        The scale.
    """
    if top is None:
        top = scores.topk(min(TOP, len(scores))).values.tolist()
    found = scores.clone()
    if exact:
        place = {row_id: index for index, row_id in enumerate(row_ids)}
        for row_id, influence in exact.items():
            if row_id in place:
                found[place[row_id]] = influence
    return Scale(rows, found, tuple(top))


def said(stands_out: bool | None) -> str:
    """The sentence that says whether anything stands out.

    Args:
        stands_out: From `Scale.stands_out`.

    Returns:
        The sentence.
    """
    if stands_out is None:
        return "whether any row stands out can't be said: too few rows, too many equal scores, or an approximate index"
    if stands_out:
        return "rows stand out: the best influence lies apart from the tail of all rows (test of gaps, 5 percent)"
    return "nothing stands out: the best rows are what the tail of so many rows gives anyway (test of gaps, 5 percent)"
