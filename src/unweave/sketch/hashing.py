"""A counter-based hash: signs and offsets that depend on (seed, tensor name, index) alone.

Nothing of the size of the gradient is ever stored, every device gives the same bits, and tensors may arrive in any order. Values
are 32-bit words held in int64, so that the arithmetic is exact in plain torch: a product of two 32-bit words wraps modulo 2^64, which
keeps its lower 32 bits right.
"""

import functools
import hashlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MASK = 0xFFFFFFFF


@functools.lru_cache(maxsize=65536)
def tensor_key(seed: int, name: str) -> int:
    """The 32-bit key of a tensor.

    Args:
        seed: The sketch's seed.
        name: The tensor's name in the model.

    Returns:
        A key.
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=4).digest(), "little")


def hash_words(key: int, counters: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Hash counters with MurmurHash3's 32-bit finalizer, applied twice with the key in between.

    Args:
        key: A 32-bit key.
        counters: Non-negative numbers below 2^32.

    Returns:
        Words in [0, 2^32).
    """
    words = _mix(counters ^ key)
    return _mix((words + 0x9E3779B9 + key) & _MASK)


def signs(key: int, start: int, count: int, *, device: torch.device | str = "cpu") -> Float[Tensor, " count"]:
    """The signs of consecutive coordinates: bit i mod 32 of the hash of i div 32.

    Args:
        key: The tensor's key.
        start: First coordinate, a multiple of 32.
        count: How many.
        device: Where to make them.

    Returns:
        +1 and -1 in float32.
    """
    first = start // 32
    words = hash_words(key, torch.arange(first, first + (count + 31) // 32, device=device))
    bits = (words[:, None] >> torch.arange(32, device=device)) & 1
    return (bits * 2 - 1).reshape(-1)[:count].to(torch.float32)


@functools.lru_cache(maxsize=4096)
def offsets(key: int, chunks: int, size: int, *, device: torch.device | str = "cpu") -> Int[Tensor, " chunks"]:
    """Hashed offsets in [0, size), one a chunk.

    Args:
        key: The tensor's key.
        chunks: How many chunks the tensor has.
        size: The number of possible offsets.
        device: Where to make them: a copy to a GPU in every batch would have it wait.

    Returns:
        The offsets; do not change them, they are kept for the next call.
    """
    # Offsets use another key than signs, or a chunk's offset would be made of its own signs' bits.
    return hash_words(key ^ 0x5BD1E995, torch.arange(chunks, device=device)) * size >> 32


def _mix(words: Tensor) -> Tensor:
    words = words & _MASK
    words = ((words ^ (words >> 16)) * 0x85EBCA6B) & _MASK
    words = ((words ^ (words >> 13)) * 0xC2B2AE35) & _MASK
    return words ^ (words >> 16)
