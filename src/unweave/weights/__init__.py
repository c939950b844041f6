"""From influence to per-sample weights: RapidUn's mapping, signed weights, LoReUn's, and the controls."""

from typing import TYPE_CHECKING

from unweave.lazy import lazy_names

if TYPE_CHECKING:
    # What editors and type checkers see; the table below is what runs.
    from unweave.weights.arrays import from_influence as from_influence
    from unweave.weights.arrays import loreun as loreun
    from unweave.weights.arrays import random as random
    from unweave.weights.arrays import rapidun as rapidun
    from unweave.weights.arrays import uniform as uniform
    from unweave.weights.config import MappingConfig as MappingConfig
    from unweave.weights.config import WeightConfig as WeightConfig
    from unweave.weights.weighing import RowWeights as RowWeights
    from unweave.weights.weighing import from_index as from_index

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "from_index": "unweave.weights.weighing",
        "from_influence": "unweave.weights.arrays",
        "loreun": "unweave.weights.arrays",
        "MappingConfig": "unweave.weights.config",
        "random": "unweave.weights.arrays",
        "rapidun": "unweave.weights.arrays",
        "RowWeights": "unweave.weights.weighing",
        "uniform": "unweave.weights.arrays",
        "WeightConfig": "unweave.weights.config",
    },
)
