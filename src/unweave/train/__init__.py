"""Supervised fine-tuning through Hugging Face `Trainer`."""

from unweave.train.config import TrainConfig
from unweave.train.sft import TrainResult, fine_tune

__all__ = ["TrainConfig", "TrainResult", "fine_tune"]
