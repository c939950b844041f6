"""Weights of arrays: influence or losses in, a weight for each row out."""

from typing import Any, Unpack

import numpy as np
from jaxtyping import Float

from unweave.ranges import require_in_range
from unweave.weights.blocks import blocks_of_arrays
from unweave.weights.checks import finite_numbers
from unweave.weights.config import Direction, MappingConfig, MappingOptions, WeightConfig, WeightMethod, WeightOptions
from unweave.weights.controls import loreun_weights, permuted_weights, uniform_weights
from unweave.weights.mapping import rapidun_weights
from unweave.weights.weighing import RowWeights, weigh_blocks, with_options


def rapidun(
    *, ff: Any, fr: Any, rf: Any, rr: Any, config: MappingConfig | None = None, **options: Unpack[MappingOptions]
) -> RowWeights:
    """RapidUn's weights from the influence among forget rows F and retain rows R, to the last bit (arXiv 2512.04457).

    S_f = alpha FF - beta FR and S_r = gamma RR - delta RF over each query's largest values; w = exp(z / tau), clipped, divided by the mean. The first letter
    of a block is of the rows whose influence it is, the second of the queries on which: FR is of queries R on rows F.

    Example:
        >>> import unweave as uw
        >>> index = uw.GradientIndex.build(model, rows, dimension=4096)
        >>> weights = uw.weights.rapidun(
        ...     ff=index.influence_matrix(queries=forget, rows=forget),
        ...     fr=index.influence_matrix(queries=retain, rows=forget),
        ...     rf=index.influence_matrix(queries=forget, rows=retain),
        ...     rr=index.influence_matrix(queries=retain, rows=retain),
        ...     tau_f=0.5,
        ... )
        >>> weights.forget.shape, weights.retain.mean().round(12).item()
        ((2,), 1.0)

    Args:
        ff: Queries F on rows F, `[queries, rows]`: a numpy array, a tensor, or nested lists.
        fr: Queries R on rows F.
        rf: Queries F on rows R.
        rr: Queries R on rows R.
        config: The options together.
        options: Some of them: `topk`, `tau_f` and other fields of `MappingConfig`. `topk=None` keeps all values.

    Returns:
        The weights, in the order of the columns.

    Raises:
        DataError: Naming the matrix that is none, is not finite, or does not fit the others.
        ConfigError: When an option is out of range, or is one of signed weights.
    """
    blocks = blocks_of_arrays(ff=ff, fr=fr, rf=rf, rr=rr)
    mapping = with_options(config or MappingConfig(), options, "rapidun")
    return RowWeights(*map(np.array, rapidun_weights(blocks, mapping)))


def from_influence(
    *,
    ff: Any,
    fr: Any,
    rf: Any,
    rr: Any,
    method: WeightMethod = "rapidun",
    config: WeightConfig | None = None,
    **options: Unpack[WeightOptions],
) -> RowWeights:
    """Weights by any method that needs influence alone.

    Example:
        >>> import numpy as np
        >>> import unweave as uw
        >>> alike, other = np.eye(3) + 1, np.zeros((3, 3))
        >>> weights = uw.weights.from_influence(ff=alike, fr=other, rf=other, rr=alike, method="signed")
        >>> weights.summary.retain.negative
        0

    Args:
        ff: Queries F on rows F, `[queries, rows]`, as in `rapidun`.
        fr: Queries R on rows F.
        rf: Queries F on rows R.
        rr: Queries R on rows R.
        method: `rapidun`, `rapidun-dense`, `signed`, `uniform` or `random`.
        config: The options together.
        options: Some of them: fields of `WeightConfig` that the method depends on.

    Returns:
        The weights, in the order of the columns.

    Raises:
        DataError: Naming the matrix that is none, is not finite, or does not fit the others.
        ConfigError: When an option is out of range or none of the method's, or the method needs losses.
    """
    found = with_options(config or WeightConfig(), options, method)
    return weigh_blocks(blocks_of_arrays(ff=ff, fr=fr, rf=rf, rr=rr), method, found)


def loreun(
    losses: Any, *, tau: float = 0.8, wmin: float = 0.5, wmax: float = 3.0, direction: Direction = "easy-low"
) -> Float[np.ndarray, " n"]:
    """LoReUn's weights of forget rows (arXiv 2507.22499): proportional to exp(-loss / tau), clipped, with mean 1.

    Example:
        >>> import unweave as uw
        >>> uw.weights.loreun([0.1, 0.5, 2.0]).round(2)
        array([1.59, 0.96, 0.45])

    Args:
        losses: l(z) of each row before forgetting, nats a token.
        tau: Temperature.
        wmin: Lower clip, a multiple of the mean.
        wmax: Upper clip.
        direction: `easy-low` gives small losses, which are hard to forget, large weights (the paper); `easy-high` the opposite (RapidUn's code).

    Returns:
        Float64, one a row.

    Raises:
        DataError: When the losses are no list of finite numbers.
        ConfigError: When an option is out of range.
    """
    config = WeightConfig(loreun_tau=tau, loreun_wmin=wmin, loreun_wmax=wmax, loreun_direction=direction)
    require_in_range(config)
    return np.array(loreun_weights(finite_numbers(losses, name="losses", where="`losses`").tolist(), config))


def uniform(count: int) -> Float[np.ndarray, " n"]:
    """A weight of 1 for each row: what influence has to beat.

    Example:
        >>> import unweave as uw
        >>> uw.weights.uniform(3)
        array([1., 1., 1.])

    Args:
        count: Rows.

    Returns:
        Float64, one a row.
    """
    return np.array(uniform_weights(count))


def random(weights: Any, *, seed: int = 0) -> Float[np.ndarray, " n"]:
    """The same weights, permuted among the rows: a control that keeps their distribution and drops their meaning.

    Example:
        >>> import unweave as uw
        >>> sorted(uw.weights.random([0.5, 1.0, 1.5], seed=1)) == [0.5, 1.0, 1.5]
        True

    Args:
        weights: Weights of another method.
        seed: Of the permutation.

    Returns:
        Float64, one a row.

    Raises:
        DataError: When the weights are no list of finite numbers.
    """
    return np.array(permuted_weights(finite_numbers(weights, name="weights", where="`weights`").tolist(), seed=seed))
