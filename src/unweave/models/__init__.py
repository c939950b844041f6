"""Loading models (hub id or folder, GGUF, adapter, 4/8-bit), the packaged default, which parameters count."""

from unweave.models.loading import Loaded, ModelConfig, load

__all__ = ["Loaded", "ModelConfig", "load"]
