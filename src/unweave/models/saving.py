"""Writing a model and its tokenizer as a Hugging Face folder: safetensors only."""

from pathlib import Path
from typing import Any

from unweave.models.quiet import quiet_transformers
from unweave.replacing import follow_umask


def save_model(model: Any, tokenizer: Any, folder: Path | str, **options: Any) -> None:
    """Write a model, or its adapter, and its tokenizer.

    Args:
        model: What `save_pretrained` writes.
        tokenizer: Its tokenizer; `None` writes none.
        folder: Where to.
        options: Further options of the model's `save_pretrained`.
    """
    with quiet_transformers():
        model.save_pretrained(folder, safe_serialization=True, **options)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    # The safetensors library makes its files for their owner only.
    follow_umask(Path(folder))
