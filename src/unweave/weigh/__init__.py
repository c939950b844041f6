"""From influence to per-sample weights: RapidUn's mapping, LoReUn's, and the controls."""

from unweave.weigh.config import MappingConfig, WeighConfig
from unweave.weigh.weigh import Weights, weigh

__all__ = ["MappingConfig", "WeighConfig", "Weights", "weigh"]
