"""The index of the rows' gradients that `unweave fix` traces with: a store that is given, or one of the run's own folder."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave.attribution.index import GradientIndex
from unweave.attribution.model import store_model
from unweave.config import part_of
from unweave.data.config import ReadingConfig
from unweave.data.encoding import EncodingConfig
from unweave.engines.config import CacheConfig
from unweave.engines.run import cache
from unweave.errors import StoreError
from unweave.fixing.config import FixConfig
from unweave.models.loading import ModelConfig, load
from unweave.outputs import SNAPSHOTS
from unweave.run.inputs import Input, of_path, of_store
from unweave.store.maintenance import compact_store
from unweave.store.store import GradientStore
from unweave.temporary import remove_folder


def tracing_model(config: FixConfig) -> str:
    """The model whose gradients trace the answer.

    Args:
        config: The run's.

    Returns:
        The one that is given; or the earliest snapshot beside the model, or the model itself.
    """
    if config.trace_model is not None:
        return config.trace_model
    early = sorted((Path(config.model) / SNAPSHOTS).glob("*/adapter_config.json"))
    return str(early[0].parent) if early else config.model


def open_index(config: FixConfig, row_ids: Collection[str]) -> GradientIndex:
    """The index of the rows, made where it is missing.

    Args:
        config: The run's.
        row_ids: The rows of the data. Others leave the run's own store.

    Returns:
        The index.

    Raises:
        StoreError: When the store that is given holds rows that are not in the data.
    """
    if config.store is not None:
        store = GradientStore.open(config.store)
        if strange := sorted(store.names() - set(row_ids)):
            raise StoreError(
                f"The store holds {len(strange)} rows that are not in the data, such as '{strange[0]}'.",
                where="`store`",
                remedy="give the store of this data, or leave it out",
            )
        return GradientIndex(store, load(replace(store_model(store.spec, None), device=config.device)))
    model, folder = tracing_model(config), config.output_dir / "store"
    options: Any = {**part_of(EncodingConfig, config).__dict__, **part_of(ReadingConfig, config).__dict__}
    caching = CacheConfig(
        model=model,
        data=config.data,
        store=folder,
        parameters="lora" if (Path(model) / "adapter_config.json").is_file() else "linear",
        dtype=config.dtype,
        device=config.device,
        **options,
    )
    try:
        cache(caching)
    except StoreError:
        # Of another model than the one that traces now: it is this folder's own, and made anew.
        remove_folder(folder)
        cache(caching)
    store = GradientStore.open(folder)
    if gone := sorted(store.names() - set(row_ids)):
        with store.writing():
            store.delete(gone)
        compact_store(store)
        store = GradientStore.open(folder)
    return GradientIndex(store, load(ModelConfig(model=model, dtype=config.dtype, device=config.device)))


def of_store_made(store: Path | None) -> Input:
    """A gradient store by how it was made: its rows leave it when they are forgotten, which makes no other run.

    Args:
        store: The store.

    Returns:
        The input.
    """
    if store is None:
        return Input(None)
    whole = of_store(store)
    described = store / "store.json"
    return Input(of_path(described).content, whole.files) if described.is_file() else whole
