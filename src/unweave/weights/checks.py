"""What a list of weights may be, whoever gives it: a file, a mapping, or a caller with an array or a tensor."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from unweave.errors import DataError

MOST = 1e30
"""Weights are multiplied with losses in float32: beyond this they would be infinite there."""

ANEW = "weigh the rows anew, or leave the weights out"
INFLUENCE = "look at the influence that they come from, and at the options of the mapping"
"""What to do about weights that can't be: of a caller, and of a mapping."""


def finite_numbers(values: Any, *, name: str, where: str) -> Float[np.ndarray, " n"]:
    """A list of finite numbers, one a row.

    Args:
        values: An array, a tensor on any device, or any iterable of numbers.
        name: What they are, for the error: `weights`, `losses`.
        where: The argument or file that they came from.

    Returns:
        Float64; a copy.

    Raises:
        DataError: When it is no list of numbers, empty, or one is not finite.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    elif isinstance(values, Iterable) and not hasattr(values, "__array__"):
        values = list(values)
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The {name} are no list of numbers: {error}.", where=where, remedy="give one number a row"
        ) from error
    if found.ndim != 1 or not found.size:
        raise DataError(
            f"The {name} have the shape {list(found.shape)}.", where=where, remedy="give a list with one number a row"
        )
    if (odd := np.flatnonzero(~np.isfinite(found))).size:
        raise DataError(
            f"The {name} hold {found[odd[0]]} at row {odd[0]}, which is no finite number: rows can't be weighed by them.",
            where=where,
            remedy=f"look at what the {name} come from",
        )
    return found


def row_weights(
    values: Any, *, where: str, name: str = "weights", count: int | None = None, signed: bool = True, remedy: str = ANEW
) -> Float[np.ndarray, " n"]:
    """Weights that rows can be weighed by.

    Args:
        values: An array, a tensor, or any iterable of numbers.
        where: The argument or file that they came from, for the error.
        name: What they are, for the error.
        count: Rows; by default any number.
        signed: Whether weights may be negative.
        remedy: What to do about weights that can't be.

    Returns:
        Float64; a copy.

    Raises:
        DataError: When they are no list of finite numbers, one is beyond `MOST` or negative, they do not fit the rows, or all are zero.
    """
    found = finite_numbers(values, name=name, where=where)
    if count is not None and len(found) != count:
        raise DataError(f"{len(found)} {name} for {count} rows.", where=where, remedy="weigh these very rows")
    bottom = -MOST if signed else 0.0
    if (odd := np.flatnonzero((found < bottom) | (found > MOST))).size:
        value = found[odd[0]]
        what = "negative" if not signed and value < 0 else "too large for float32"
        raise DataError(f"The {name} hold {value:g} at row {odd[0]}, which is {what}.", where=where, remedy=remedy)
    if not found.any():
        raise DataError(
            f"All {name} are zero: no row would count, and rows can't be weighed by them.", where=where, remedy=remedy
        )
    return found
