"""Weights that influence has to beat: uniform, random, and LoReUn's from the losses."""

import math
import random
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from unweave.weights.mapping import mean_one


@runtime_checkable
class LoReUnOptions(Protocol):
    """What LoReUn's weights depend on; `WeighConfig` has it, and so has the method of that name."""

    @property
    def loreun_tau(self) -> float:
        """Temperature."""
        ...

    @property
    def loreun_wmin(self) -> float:
        """Lower clip."""
        ...

    @property
    def loreun_wmax(self) -> float:
        """Upper clip."""
        ...

    @property
    def loreun_direction(self) -> str:
        """`easy-low` or `easy-high`."""
        ...


def uniform_weights(count: int) -> list[float]:
    """A weight of 1 for each row.

    Args:
        count: Rows.

    Returns:
        The weights.
    """
    return [1.0] * count


def permuted_weights(weights: Sequence[float], *, seed: int) -> list[float]:
    """The same values, dealt to other rows: the control that keeps the distribution of weights and drops its meaning.

    Args:
        weights: The weights of the method under test.
        seed: Of the permutation.

    Returns:
        The permuted weights.
    """
    shuffled = list(weights)
    random.Random(seed).shuffle(shuffled)
    return shuffled


def loreun_weights(losses: Sequence[float], config: LoReUnOptions) -> list[float]:
    """LoReUn's static weights (arXiv 2507.22499): proportional to exp(-loss / tau), clipped, with mean 1.

    The paper leaves the order of normalising and clipping open: here weights are brought to mean 1, clipped, and brought to mean 1 again, so that the clips
    are multiples of the average weight whatever the level of the losses.

    Args:
        losses: l(z) of each forget row before forgetting, nats a token.
        config: Temperature, clips, direction.

    Returns:
        The weights.
    """
    sign = -1.0 if config.loreun_direction == "easy-low" else 1.0
    # Shifting by the smallest exponent changes nothing after the first normalisation and keeps exp within range.
    exponents = [sign * loss / config.loreun_tau for loss in losses]
    raw = mean_one([math.exp(exponent - max(exponents)) for exponent in exponents])
    return mean_one([min(max(weight, config.loreun_wmin), config.loreun_wmax) for weight in raw])
