"""Gaussian noise that nobody can foretell: from the system's cryptographic generator, hardened against what floating point gives away.

torch's generators (Philox, Mersenne twister) are made for simulation: who sees enough of their output can compute the rest, and noise that is known protects
nothing. Here each number comes from fresh bytes of `os.urandom`, by the Box-Muller transform in float64. A single such number can be told from a true normal
by its lowest bits (Mironov, CCS 2012, for Laplace's); the sum of four, halved, makes that search too large (Holohan and Braghin, arXiv 2107.10138), which is
what Opacus does in its secure mode too.
"""

import math
import os
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SUMMED = 4
"""Normals in each number; their sum has twice the standard deviation of one."""
CHUNK = 2**18
"""Numbers made at once: 8 MiB of random bytes."""
BITS = 53


def secret_normal(shape: Sequence[int]) -> Float[Tensor, "..."]:
    """Independent numbers of mean 0 and standard deviation 1, on the CPU.

    Args:
        shape: The shape.

    Returns:
        A tensor in float64.
    """
    count = math.prod(shape)
    found = torch.empty(count, dtype=torch.float64)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        found[start : start + size] = _normals(SUMMED * size).view(SUMMED, size).sum(dim=0).div_(math.sqrt(SUMMED))
    return found.view(*shape)


def _normals(count: int) -> Float[Tensor, " count"]:
    """Box and Muller's: an even number of normals, two of each pair of uniform numbers."""
    uniform = _uniform(count)
    lengths = uniform[: count // 2].log_().mul_(-2).sqrt_()
    angles = uniform[count // 2 :].mul_(2 * math.pi)
    return torch.cat([torch.cos(angles).mul_(lengths), torch.sin(angles).mul_(lengths)])


def _uniform(count: int) -> Float[Tensor, " count"]:
    """Uniform between 0 and 1, without both: 53 bits, and half a step more."""
    words = torch.frombuffer(bytearray(os.urandom(8 * count)), dtype=torch.int64)
    return words.bitwise_and_(2**BITS - 1).to(torch.float64).add_(0.5).mul_(2.0**-BITS)
