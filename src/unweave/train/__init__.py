"""Supervised fine-tuning through Hugging Face `Trainer`."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "TrainConfig": "unweave.train.config",
        "TrainResult": "unweave.train.sft",
        "fine_tune": "unweave.train.sft",
    },
)
