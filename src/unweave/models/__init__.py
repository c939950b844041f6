"""Loading models (hub id or folder, GGUF, adapter, 4/8-bit), the packaged default, which parameters count."""

from unweave.models.loading import Loaded, ModelConfig, load, load_model
from unweave.models.model import Model

__all__ = ["Loaded", "Model", "ModelConfig", "load", "load_model"]
