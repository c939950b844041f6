"""RapidGrad as its authors published it (RapidIn, arXiv 2405.11724, section 3.2 and the official code), replayed exactly.

The original concatenates all gradients, pads with zeros to a multiple of 2^24, shuffles rows and columns of reshapes 2 lambda times,
multiplies by random signs and sums K groups of neighbours. All of that is one fixed assignment of a bin and a sign to every coordinate. We draw the
same permutations and signs from the same seed once, follow every coordinate through them, and keep the bins and signs; sketches then equal
the original's up to the order of summation, without the shuffles.

It is here for reproduction. On vectors padded to a power of two the shuffles do not mix (they touch half of the index bits each), and the
variance is 3 to 500 times that of `fold`.
"""

from typing import Any

import numpy as np

from unweave.errors import ConfigError
from unweave.sketch.base import Sizes
from unweave.sketch.tables import TableSketch

PADDING = 2**24
LAMBDA = 20
ORIGINAL_SEED = 42


class RapidGrad(TableSketch):
    """The exact replay."""

    name = "rapidgrad"

    @classmethod
    def for_sizes(
        cls, sizes: Sizes, *, dimension: int, seed: int = ORIGINAL_SEED, padding: int = PADDING, **_: Any
    ) -> "RapidGrad":
        """Draw the tables for a model.

        Args:
            sizes: Coordinates of each tensor, in the order in which the original concatenates them: that of the model's parameters.
            dimension: K.
            seed: The original uses 42.
            padding: The length is padded to a multiple of this; the original uses 2^24.

        Returns:
            The sketch.

        Raises:
            ConfigError: When K does not divide the padded length.
        """
        total = sum(sizes.values())
        padded = -(-total // padding) * padding
        if padded % dimension:
            raise ConfigError(
                f"RapidGrad needs K to divide the padded length {padded}.",
                where="`dimension`",
                remedy="use a power of two",
            )
        bins, signs = replay(padded, dimension, seed=seed)
        return cls(sizes, dimension, bins[:total], signs[:total] > 0)


def replay(length: int, dimension: int, *, seed: int, shuffles: int = 2 * LAMBDA) -> tuple[np.ndarray, np.ndarray]:
    """Bins and signs of every coordinate, from the original's stream of random numbers.

    Args:
        length: The padded length.
        dimension: K.
        seed: Of numpy's legacy generator.
        shuffles: Permutations, row and column in turn; the original makes 2 lambda.

    Returns:
        Bins (int32) and signs (int8), indexed by coordinate.
    """
    rng = np.random.RandomState(seed)
    sign_at = rng.randint(0, 2, (length,), dtype=np.int8)
    sign_at[sign_at == 0] = -1
    factors = prime_factors(length)
    where = np.arange(length, dtype=np.int32)  # where[p] is the coordinate that stands at position p by now
    for turn in range(shuffles):
        taken = rng.randint(len(factors) // 4, len(factors) // 2 + 1)
        rng.shuffle(factors)
        size = int(np.prod(factors[:taken], dtype=np.int64))
        order = rng.permutation(size)
        where = where.reshape(size, -1)[order] if turn % 2 == 0 else where.reshape(-1, size)[:, order]
        where = where.reshape(-1)
    bins = np.empty(length, dtype=np.int32)
    signs = np.empty(length, dtype=np.int8)
    bins[where] = np.arange(length, dtype=np.int64) // (length // dimension)
    signs[where] = sign_at
    return bins, signs


def prime_factors(number: int) -> list[int]:
    """The prime factors of a number, ascending, with repetition.

    Args:
        number: At least 1.

    Returns:
        The factors.
    """
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors
