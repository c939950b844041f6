"""Number formats of stored sketches.

float32   the sketch itself
float16   scaled by row so that the largest entry is 1: small gradients stay out of float16's subnormal numbers
int8      scaled by row and rounded to [-127, 127]; the scale is calibrated: of several clipping points the one with the smallest squared error
sign      one bit an entry, eight in a byte (bit 0 first); the scale is the row's norm, so that the decoded row is sign * norm / sqrt(K)
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

NumberFormat = Literal["float16", "int8", "sign", "float32"]

# Shares of the largest entry at which int8 may clip. Sketches are near normal: their largest of 65,536 entries is at 4.3 standard deviations.
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6)


def encode_numbers(
    sketches: Float[Tensor, "n K"], number_format: str
) -> tuple[Shaped[Tensor, "n width"], Float[Tensor, " n"]]:
    """Put sketches into their stored format.

    Args:
        sketches: In float32.
        number_format: `float16`, `int8`, `sign` or `float32`.

    Returns:
        Stored values, and the scale of each row.
    """
    sketches = sketches.float()
    if number_format == "float32":
        return sketches, torch.ones(len(sketches))
    if number_format == "sign":
        packed = np.packbits(sketches.numpy() >= 0, axis=1, bitorder="little")
        return torch.from_numpy(packed), sketches.norm(dim=1)
    scales = sketches.abs().amax(dim=1)
    scales[scales == 0] = 1.0
    if number_format == "float16":
        return (sketches / scales[:, None]).to(torch.float16), scales
    best, error = scales / 127, torch.full_like(scales, torch.inf)
    for clip in CLIPS:
        step = scales * clip / 127
        found = (_round(sketches, step) * step[:, None] - sketches).square().sum(dim=1)
        best, error = torch.where(found < error, step, best), torch.minimum(found, error)
    return _round(sketches, best).to(torch.int8), best


def _round(sketches: Tensor, steps: Tensor) -> Tensor:
    return (sketches / steps[:, None]).round_().clamp_(-127, 127)


def decode_numbers(
    values: Shaped[Tensor, "n width"], scales: Float[Tensor, " n"], number_format: str, dimension: int
) -> Float[Tensor, "n K"]:
    """The inverse of `encode_numbers`.

    Args:
        values: Stored values.
        scales: The scale of each row.
        number_format: Their format.
        dimension: K.

    Returns:
        Sketches in float32.
    """
    if number_format == "sign":
        bits = np.unpackbits(values.numpy(), axis=1, count=dimension, bitorder="little")
        return (torch.from_numpy(bits).float() * 2 - 1) * (scales / dimension**0.5)[:, None]
    return values.float() * scales[:, None]


def stored_bytes(dimension: int, number_format: str) -> int:
    """Bytes of one stored sketch.

    Args:
        dimension: K.
        number_format: Its format.

    Returns:
        Bytes, the scale apart.
    """
    return (
        -(-dimension // 8)
        if number_format == "sign"
        else dimension * {"float32": 4, "float16": 2, "int8": 1}[number_format]
    )
