"""Fingerprints: short hashes that tell whether a store, an adapter or a result belongs to this model and tokenizer."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from unweave.digests import THREADS
from unweave.models.placing import values_of

SAMPLES = 4096
CHUNK = 1 << 22
WHOLE = "v2:"
"""What fingerprints of every value begin with; those of before read a sample of each tensor, and have no such mark."""


def model_fingerprint(model: nn.Module, *, like: str | None = None) -> str:
    """A hash of the parameters' names, shapes and values.

    Every value counts, as float32 has it, so that a model has the same fingerprint in whichever of the narrower precisions it is held.

    Args:
        model: The model, its adapter included.
        like: A fingerprint to compare with. Of the kind that stores and certificates had before, of at most `SAMPLES` evenly spaced values a tensor, it
            gets one of that kind.

    Returns:
        32 hexadecimal digits behind the mark of their kind.
    """
    if like is not None and not like.startswith(WHOLE):
        return _sampled(model)
    named = dict(values_of(model))
    digest = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for (name, parameter), values in zip(named.items(), pool.map(_values_digest, named.values()), strict=True):
            digest.update(f"{name}{tuple(parameter.shape)}".encode())
            digest.update(values)
    return WHOLE + digest.hexdigest()


def _values_digest(parameter: Tensor) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parameter.detach().reshape(-1).split(CHUNK):
        own = part.to("cpu").contiguous()
        if own.dtype != torch.bfloat16:
            own = own.to(torch.float32)
            # What bfloat16 holds exactly has the same bytes however it is held, half as many.
            if not bool((own.view(torch.int32) & 0xFFFF).any()):
                own = own.to(torch.bfloat16)
        digest.update(own.view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _sampled(model: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in values_of(model):
        flat = parameter.detach().reshape(-1)
        step = max(1, flat.numel() // SAMPLES)
        sample = flat[::step][:SAMPLES].to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A hash of the vocabulary, the merges, the pre-tokenizer and the chat template.

    Args:
        tokenizer: A Hugging Face tokenizer.

    Returns:
        32 hexadecimal digits.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = _stable_backend(backend) if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    text = content + str(getattr(tokenizer, "chat_template", "")) + str(tokenizer.bos_token) + str(tokenizer.eos_token)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _stable_backend(backend: Any) -> str:
    """The tokenizer's JSON without padding and truncation, which calls change and ids do not depend on."""
    import json

    content = json.loads(backend.to_str())
    content.pop("padding", None)
    content.pop("truncation", None)
    return json.dumps(content, sort_keys=True)
