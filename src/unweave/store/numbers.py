"""Number formats of stored sketches: float16 with a float32 scale a row, or float32."""

import torch
from jaxtyping import Float
from torch import Tensor


def encode_numbers(sketches: Float[Tensor, "n K"], number_format: str) -> tuple[Tensor, Float[Tensor, " n"]]:
    """Put sketches into their stored format, each row scaled so that its largest entry is 1.

    The scale keeps small gradients out of float16's subnormal numbers; the relative error of an entry is 2^-11 of the largest or less.

    Args:
        sketches: In float32.
        number_format: `float16` or `float32`.

    Returns:
        Stored values, and the factor of each row.
    """
    if number_format == "float32":
        return sketches.float(), torch.ones(len(sketches))
    scales = sketches.abs().amax(dim=1).float()
    scales[scales == 0] = 1.0
    return (sketches / scales[:, None]).to(torch.float16), scales.cpu()


def decode_numbers(values: Tensor, scales: Float[Tensor, " n"]) -> Float[Tensor, "n K"]:
    """The inverse of `encode_numbers`.

    Args:
        values: Stored values.
        scales: The factor of each row.

    Returns:
        Sketches in float32.
    """
    return values.float() * scales[:, None]
