"""The model of a store, loaded as it was when the store was made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.models.holding import HOLDING
from unweave.models.loading import Loaded, ModelConfig
from unweave.store.format import StoreSpec

DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True, kw_only=True)
class StoreModelConfig(ModelConfig):
    """A store's model.

    Attributes:
        max_length: The longest sequence of the store: the attention is chosen by it.
    """

    max_length: int = 512


def loading_record(loaded: Loaded) -> dict[str, Any]:
    """How a model is held, for the store that is made with it.

    Args:
        loaded: The model.

    Returns:
        What `store_model` reads.
    """
    dtype = str(loaded.model.dtype).removeprefix("torch.")
    return {"revision": loaded.revision, "quantization": loaded.quantization, "dtype": dtype}


def store_model(spec: StoreSpec, options: Any) -> StoreModelConfig:
    """How to load a store's model: as it was held when the store was made, but for what the options say.

    Args:
        spec: The store's.
        options: May have `model`, `adapter`, `revision`, and the options of how a model is held.

    Returns:
        A config to load.
    """
    given = {
        name: value
        for name in ("revision", *HOLDING)
        if (value := getattr(options, name, None)) not in (None, "auto") or (name == "device_map" and value)
    }
    if getattr(options, "model", None) is not None:
        place: dict[str, Any] = {"model": options.model, "adapter": options.adapter}
    elif getattr(options, "adapter", None) is not None:
        place = {"model": spec.model, "adapter": options.adapter}
    else:
        place = {"model": spec.model, "adapter": Path(spec.adapter) if spec.adapter else None}
    kept = {name: value for name, value in spec.loading.items() if value is not None}
    if kept.get("dtype") not in DTYPES:
        kept.pop("dtype", None)
    length = spec.encoding.get("max_length", 512)
    return StoreModelConfig(**{**kept, **place, **given, "max_length": length})
