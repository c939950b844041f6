"""Fingerprints: short hashes that tell whether a store, an adapter or a result belongs to this model and tokenizer."""

import hashlib
from typing import Any

import torch
from torch import nn

SAMPLES = 4096


def model_fingerprint(model: nn.Module) -> str:
    """A hash of the parameters' names, shapes and values.

    Of each tensor at most `SAMPLES` evenly spaced values are read, so that the cost does not grow with the model. Training moves
    practically every value, so another checkpoint has another fingerprint; an edit of a few single weights may go unseen.

    Args:
        model: The model, its adapter included.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in model.named_parameters():
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
